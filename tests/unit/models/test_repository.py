import errno
import itertools
import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RepositoryError
from models.repository import ModelRepository, ModelSpec
from tests.contracts.repository import RepositoryContract, publish_stub, write_stub


class TestModelRepository(RepositoryContract):
    open_repository = ModelRepository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def repository(root: Path) -> ModelRepository:
    return ModelRepository(root)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("fusion", ModelSpec("fusion")),
        ("fusion@latest", ModelSpec("fusion")),
        ("fusion@12", ModelSpec("fusion", version="12")),
        ("my.model_2-b@champion", ModelSpec("my.model_2-b", alias="champion")),
    ],
)
def test_a_spec_is_a_name_with_a_version_or_an_alias(text: str, spec: ModelSpec) -> None:
    assert ModelSpec.parse(text) == spec
    assert ModelSpec.parse(str(spec)) == spec


@given(st.text(max_size=20) | st.from_regex(r"[a-z.@/\\-]{1,12}", fullmatch=True))
def test_no_spec_leads_out_of_its_folder(text: str) -> None:
    try:
        spec = ModelSpec.parse(text)
    except RepositoryError as error:
        assert "names no model" in str(error)  # noqa: PT017 - most texts are refused, none may escape
        return
    for part in (spec.name, spec.version or "1", spec.alias or "a"):
        assert part == Path(part).name
        assert not part.startswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@3",
        "fusion@",
        "fusion@0",
        "fusion@03",
        "fusion@-1",
        "fusion@@3",
        "fusion@3@4",
        "fusion@3\n",
        "a/b@1",
    ],
)
def test_a_spec_that_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(RepositoryError, match="NAME@ALIAS"):
        ModelSpec.parse(text)


def test_the_root_may_be_a_file_url(tmp_path: Path) -> None:
    publish_stub(ModelRepository(tmp_path))
    assert ModelRepository(tmp_path.as_uri()).names() == ("fusion",)


def test_foreign_entries_are_left_alone(repository: ModelRepository, root: Path) -> None:
    publish_stub(repository)
    model = root / "fusion"
    (model / ".3.0123456789ab").mkdir()
    (model / "notes.txt").write_text("mine")
    (model / "04").mkdir()
    (model / "7").mkdir()
    (root / "lost+found").mkdir()
    (root / "README").write_text("mine")
    assert repository.names() == ("fusion",)
    assert repository.versions("fusion") == ("1",)
    assert publish_stub(repository) == "8"
    assert not any((model / "7").iterdir())


def test_a_file_in_the_place_of_a_version_is_not_overwritten(repository: ModelRepository, root: Path) -> None:
    publish_stub(repository)
    (root / "fusion" / "2").write_text("mine")
    assert publish_stub(repository) == "3"
    assert (root / "fusion" / "2").read_text() == "mine"


def test_a_version_published_meanwhile_costs_one_more_attempt(repository: ModelRepository) -> None:
    offered: list[str] = []

    def write(folder: Path, version: str) -> None:
        offered.append(version)
        if len(offered) <= 2:
            publish_stub(repository)
        write_stub("fusion", folder, version, payload="slow")

    assert repository.publish("fusion", write).version == "3"
    assert offered == ["1", "2", "3"]
    assert (repository.resolve("fusion@3").folder / "payload").read_text() == "slow"
    assert (repository.resolve("fusion@1").folder / "payload").read_text() == ""


def test_the_number_of_a_removed_version_is_not_given_again_while_an_alias_points_to_it(
    repository: ModelRepository,
    root: Path,
) -> None:
    publish_stub(repository)
    publish_stub(repository)
    repository.promote("fusion@2", "champion")
    remove(root / "fusion" / "2")
    assert publish_stub(repository) == "3"
    with pytest.raises(RepositoryError, match=r"no fusion@champion \(version 2\)"):
        repository.resolve("fusion@champion")


@pytest.mark.parametrize("content", [b"", b"two", b"../2", b"1\ntwo\n", b"\xff\xfe", b"0", b"9" * 40])
def test_a_damaged_alias_is_told_and_costs_no_new_version(
    repository: ModelRepository, root: Path, content: bytes
) -> None:
    publish_stub(repository)
    repository.promote("fusion@1", "champion")
    path = root / "fusion" / "aliases" / "champion"
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(RepositoryError, match="alias"):
        repository.resolve("fusion@champion")
    assert publish_stub(repository) == "2"
    assert repository.promote("fusion@2", "champion").version == "2"


def test_a_version_that_is_gone_is_not_gone_back_to(repository: ModelRepository, root: Path) -> None:
    for version in ("1", "2"):
        publish_stub(repository)
        repository.promote(f"fusion@{version}", "champion")
    remove(root / "fusion" / "1")
    with pytest.raises(RepositoryError, match="there is no fusion@1"):
        repository.rollback("fusion", "champion")
    assert repository.history("fusion", "champion") == ("2", "1")


def test_an_alias_remembers_the_last_twenty_versions_before(repository: ModelRepository, root: Path) -> None:
    for _ in range(2):
        publish_stub(repository)
    for turn in range(30):
        repository.promote(f"fusion@{1 + turn % 2}", "champion")
    lines = (root / "fusion" / "aliases" / "champion").read_text().splitlines()
    assert lines == ["2", "1"] * 10 + ["2"]


def test_a_linked_folder_is_no_version(repository: ModelRepository, root: Path) -> None:
    publish_stub(repository)
    (root / "fusion" / "2").symlink_to(root / "fusion" / "1")
    assert repository.versions("fusion") == ("1",)
    with pytest.raises(RepositoryError, match="there is no fusion@2"):
        repository.resolve("fusion@2")
    assert publish_stub(repository) == "3"


def test_publishing_leaves_no_hidden_folders_behind(repository: ModelRepository, root: Path) -> None:
    publish_stub(repository)
    with pytest.raises(RepositoryError):
        repository.publish("fusion", partial(write_stub, "other"))
    repository.promote("fusion@1", "champion")
    assert sorted(path.name for path in (root / "fusion").iterdir()) == ["1", "aliases"]
    assert [path.name for path in (root / "fusion" / "aliases").iterdir()] == ["champion"]


def test_a_root_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    repository = ModelRepository(tmp_path / "file")
    assert repository.names() == ()
    with pytest.raises(RepositoryError, match=r"file cannot be used"):
        publish_stub(repository)


def test_all_of_a_version_is_on_disk_before_it_is_seen(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    flush, rename = os.fsync, Path.rename

    def noted(call: str) -> bool:
        calls.append(call)
        return True

    monkeypatch.setattr(os, "fsync", lambda descriptor: noted("flush") and flush(descriptor))
    monkeypatch.setattr(Path, "rename", lambda path, target: noted("rename") and rename(path, target))
    publish_stub(repository)
    assert calls == [*["flush"] * len(["bundle.json", "payload", "the folder"]), "rename", "flush"]


@pytest.mark.parametrize(
    ("num_flushed", "versions"),
    [(0, ("1",)), (1, ("1",)), (2, ("1",)), (4, ("1", "2"))],
    ids=["first file", "last file", "folder", "alias"],
)
def test_a_disk_that_is_full_leaves_nothing_half_written(
    repository: ModelRepository,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_flushed: int,
    versions: tuple[str, ...],
) -> None:
    publish_stub(repository)
    repository.promote("fusion@1", "champion")
    flush, calls = os.fsync, itertools.count()

    def full(descriptor: int) -> None:
        if next(calls) == num_flushed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)

    def publish_and_promote() -> None:
        publish_stub(repository)
        repository.promote("fusion@2", "champion")

    with pytest.raises(RepositoryError, match="No space left on device"):
        publish_and_promote()
    assert repository.resolve("fusion@champion").version == "1"
    assert repository.versions("fusion") == versions
    assert not list((root / "fusion").glob("**/.*"))


def remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
