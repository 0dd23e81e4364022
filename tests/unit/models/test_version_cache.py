"""Local copies of versions: which of them stay, whoever else works in the same folder."""

import errno
import os
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import pytest

from models.stores import cache
from models.stores.cache import KEPT_VERSIONS, VersionCache
from tests.contracts.repository import write_stub

HOUR = 3600.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def sealed(tmp_path: Path) -> Callable[[int], bytes]:
    """The manifest of a version; each has its own, and the same payload."""

    def manifest(version: int) -> bytes:
        folder = tmp_path / "written" / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        write_stub("fusion", folder, str(version))
        return (folder / "bundle.json").read_bytes()

    return manifest


def fetch(folder: Path, wanted: Collection[str]) -> None:
    for file_name in wanted:
        (folder / file_name).write_bytes(b"")


def versions_in(root: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in (root / "fusion").iterdir()}


def hide(path: Path, *, seconds_ago: float) -> Path:
    path.mkdir(parents=True)
    os.utime(path, (0, time.time() - seconds_ago))
    return path


def test_a_folder_that_goes_meanwhile_costs_nobody_elses_work(
    root: Path, sealed: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, now = VersionCache(root), time.time()
    for version in range(1, KEPT_VERSIONS + 1):
        used_at = now - (HOUR if version == 3 else version)
        place = copies.copy("fusion", str(version), sealed(version), fetch)
        os.utime(place, (used_at, used_at))
    fresh = hide(root / "fusion" / ".7.fresh", seconds_ago=HOUR / 2)
    old = hide(root / "fusion" / ".8.old", seconds_ago=2 * HOUR)
    gone, listed = root / "fusion" / ".6.gone", Path.iterdir
    monkeypatch.setattr(
        Path, "iterdir", lambda folder: (*listed(folder), *([gone] if folder == gone.parent else ()))
    )
    copies.copy("fusion", "9", sealed(9), fetch)
    monkeypatch.undo()
    assert fresh.is_dir()
    assert not old.exists()
    assert versions_in(root) == {".7.fresh", "1", "2", "4", "5", "9"}


def test_publishing_keeps_no_more_than_fetching_does(root: Path) -> None:
    for version in range(1, KEPT_VERSIONS + 3):
        with VersionCache(root).staged("fusion", str(version)) as folder:
            write_stub("fusion", folder, str(version))
            # Written long before it is uploaded, it is the latest nevertheless.
            os.utime(folder, (0, version))
    assert versions_in(root) == {str(version) for version in range(3, KEPT_VERSIONS + 3)}


def test_copies_without_weights_are_bounded_too_and_are_no_copies(
    root: Path, sealed: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "KEPT_OUTLINES", 2)
    copies = VersionCache(root)
    whole = copies.copy("fusion", "1", sealed(1), fetch)
    for version in range(1, 5):
        os.utime(copies.copy("fusion", str(version), sealed(version), fetch, ()), (version, version))
    assert whole.is_dir()
    outlines = [path for path in (root / "fusion").iterdir() if path != whole]
    assert sorted(path.name.partition("-")[0] for path in outlines) == ["3", "4"]


def test_a_copy_that_may_only_be_read_serves(
    root: Path, sealed: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = VersionCache(root).copy("fusion", "1", sealed(1), fetch)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    nothing = partial(pytest.fail, "a sound copy is there")
    assert VersionCache(root).copy("fusion", "1", sealed(1), lambda *_: nothing()) == place
