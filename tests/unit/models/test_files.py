"""A file that takes the place of another is written whole or not at all."""

from pathlib import Path

import pytest

from models.files import staged_file


def test_a_file_is_there_when_the_block_has_ended_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    with staged_file(path) as file:
        file.write(b"first\n")
        assert not path.exists()
        file.write(b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"before\n")
    with pytest.raises(TypeError, match="bytes"), staged_file(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"before\n"
    assert list(tmp_path.iterdir()) == [path]
