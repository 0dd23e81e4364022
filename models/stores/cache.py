"""Local copies of versions that are kept elsewhere: each whole or not there, checked before it is used."""

import hashlib
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from models.errors import BundleError, RepositoryError
from models.files import read_plain_file, staged_folder, write_new_file
from models.version_files import MANIFEST_FILE, VersionFiles

__all__ = ["Fetch", "VersionCache"]

Fetch = Callable[[Path, Collection[str]], object]
"""Puts the files of these names into a folder."""

KEPT_VERSIONS: Final = 5
"""Whole copies kept of a model; of more, those that were not used for the longest time are removed."""

KEPT_OUTLINES: Final = 100
"""As `KEPT_VERSIONS`, of copies without weights, which lists of versions are made of."""

_OUTLINE: Final = ".outline"
_ABANDONED_SECONDS: Final = 3600.0


class VersionCache:
    """Copies under one folder, named by version and digest of the manifest; any number of processes share it.

    A copy is its version's for good: another version of the same number has another manifest, so another
    place.
    """

    def __init__(self, root: Path) -> None:
        """Look at a folder, which need not exist yet.

        Args:
            root: the folder.
        """
        self._root = root

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Make a disk that is full or closed to us a fault of the repository, which names the folder."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise RepositoryError(f"versions cannot be kept in {self._root}: {error}") from error

    @contextmanager
    def staged(self, name: str, version: str) -> Iterator[Path]:
        """An empty folder to fill; when the block ends well it becomes the copy that its manifest says.

        Raises:
            RepositoryError: the disk is full or closed to us.
        """
        with self._faults():
            whole = self._root / name / f".{version}.{secrets.token_hex(6)}"
            whole.mkdir(parents=True)
            try:
                yield whole
                place = self._place(name, version, read_plain_file(whole / MANIFEST_FILE))
                with suppress(OSError):  # there already: the same files
                    whole.rename(place)
                _note_use(place)
                with suppress(OSError):  # the version is published, whatever becomes of the others
                    self._prune(name)
            finally:
                shutil.rmtree(whole, ignore_errors=True)

    def copy(
        self, name: str, version: str, sealed: bytes, fetch: Fetch, files: Collection[str] | None = None
    ) -> Path:
        """The folder of a copy, fetched unless a sound one is there; costs a pass over its files.

        Args:
            name: the model.
            version: the number.
            sealed: the bytes of its `bundle.json`.
            fetch: called with an empty folder and the names of the files to put there.
            files: with the manifest, the files to have; by default every one.

        Raises:
            BundleError: what was fetched is not what the manifest says.
            RepositoryError: the disk is full or closed to us.
        """
        place = self._place(name, version, sealed)
        if files is not None:
            place = place.with_name(place.name + _OUTLINE)
        with self._faults():
            _note_use(place)  # before the check, which takes its time: nobody removes it meanwhile
            if not _is_sound(place, sealed, files):
                _fill(place, sealed, fetch, files)
                _note_use(place)
                self._prune(name)
        return place

    def _place(self, name: str, version: str, sealed: bytes) -> Path:
        return self._root / name / f"{version}-{hashlib.sha256(sealed).hexdigest()[:16]}"

    def _prune(self, name: str) -> None:
        """Remove copies beyond the limits, and what killed processes have left."""
        staged, outlines, copies = [], [], []
        for path in sorted((self._root / name).iterdir(), key=_used_at, reverse=True):
            if path.name.startswith("."):
                staged.append(path)
            elif path.name.endswith(_OUTLINE):
                outlines.append(path)
            else:
                copies.append(path)
        oldest = time.time() - _ABANDONED_SECONDS
        abandoned = [path for path in staged if _used_at(path) < oldest]
        for path in (*abandoned, *copies[KEPT_VERSIONS:], *outlines[KEPT_OUTLINES:]):
            shutil.rmtree(path, ignore_errors=True)


def _note_use(place: Path) -> None:
    with suppress(OSError):  # a cache that may only be read serves all the same
        os.utime(place)


def _used_at(path: Path) -> float:
    """When something was last used, seconds since 1970; infinity where another process has removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _fill(place: Path, sealed: bytes, fetch: Fetch, files: Collection[str] | None) -> None:
    """Put a fresh copy in the place of a damaged one, or of none."""
    aside = place.with_name(f".{place.name}.{secrets.token_hex(6)}")
    with suppress(FileNotFoundError):
        place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    with suppress(FileExistsError), staged_folder(place) as staging:  # another process may be faster
        write_new_file(staging / MANIFEST_FILE, sealed)
        wanted = VersionFiles.open(staging).manifest.files if files is None else files
        fetch(staging, wanted)
        _check(staging, files)


def _is_sound(place: Path, sealed: bytes, files: Collection[str] | None) -> bool:
    try:
        if place.is_symlink() or read_plain_file(place / MANIFEST_FILE) != sealed:
            return False
        _check(place, files)
    except (BundleError, OSError):
        return False
    return True


def _check(place: Path, files: Collection[str] | None) -> None:
    copy = VersionFiles.open(place)
    if files is None:
        copy.check_listed()
    for file_name in copy.manifest.files if files is None else files:
        copy.check(file_name)
