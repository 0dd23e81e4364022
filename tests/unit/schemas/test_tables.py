import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CatalogueError
from schemas.tables import read_csv, read_json_lines

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=5), delimiter=st.sampled_from(",;\t"))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([("a", "b"), *rows])
    assert [tuple(fields.values()) for _, fields in read_csv(path)] == rows


def test_rows_know_the_line_they_start_on(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,"two\nlines"\n\n3,4\n')
    assert list(read_csv(path)) == [(2, {"a": "1", "b": "two\nlines"}), (5, {"a": "3", "b": "4"})]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert list(read_csv(write(tmp_path, "\ufeffa\nx\n"))) == [(2, {"a": "x"})]


def test_a_field_may_be_larger_than_the_csv_module_allows_by_itself(tmp_path: Path) -> None:
    description = "<p>" * 100_000
    assert list(read_csv(write(tmp_path, f"a,b\n1,{description}\n"))) == [(2, {"a": "1", "b": description})]


def test_a_file_with_a_header_only_has_no_rows(tmp_path: Path) -> None:
    assert list(read_csv(write(tmp_path, "a,b\n"))) == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 fields where the header has 2"),
        (b"a,b\n1\n", "line 2: 1 fields where the header has 2"),
        (b'a,b\n1,2\n3,"never closed\n4,5\n', "line 3: unexpected end of data"),
        (b'a,b\n1,"x"y\n', "line 2: ',' expected after"),
        ("a,b\n1,2\n3,été\n".encode("latin-1"), "line 3: not UTF-8; save the file as UTF-8"),
        ("é,b\n".encode("latin-1"), "line 1: not UTF-8"),
    ],
)
def test_the_error_names_the_file_the_line_and_what_is_wrong(
    tmp_path: Path, content: bytes, fault: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(CatalogueError) as caught:
        list(read_csv(path))
    assert str(caught.value).startswith(str(path))
    assert fault in str(caught.value)


def test_lines_of_json_are_read_with_the_line_they_stand_on(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeff{"a": 1}\n\n  \n{"a": "caf\\ud83d"}', "table.jsonl")
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (4, {"a": "caf\ufffd"})]


@pytest.mark.parametrize("line", ["[1]", "{", '{"a": NaN}', '"text"', "{} {}"])
def test_a_line_that_is_not_one_object_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"{json.dumps({'a': 1})}\n{line}\n", "table.jsonl")
    rows = read_json_lines(path)
    assert next(rows) == (1, {"a": 1})
    with pytest.raises(CatalogueError, match=r"table\.jsonl, line 2: the value"):
        next(rows)


@pytest.mark.parametrize("read", [read_csv, read_json_lines])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(CatalogueError, match=r"missing\.csv: cannot be read: No such file"):
        list(read(tmp_path / "missing.csv"))
    with pytest.raises(CatalogueError, match="cannot be read: Is a directory"):
        list(read(tmp_path))
