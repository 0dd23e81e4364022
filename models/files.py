"""Files of a version on disk: written whole or not at all, read only when they are plain files."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from models.errors import BundleError

__all__ = [
    "open_plain_file",
    "plain_files",
    "read_plain_file",
    "replace_file",
    "staged_file",
    "staged_folder",
    "write_new_file",
]

_READ_ONLY = 0o444
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # not on Windows, where plain_files has already looked


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill that takes its place at `folder` in one step when the block ends well.

    Nobody sees it half full: until then it is a hidden neighbour, and it is removed when the block fails.
    Everything in it is flushed to disk before it is renamed, and the rename after.

    Raises:
        FileExistsError: `folder` is there already, with something in it, when the block ends.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    try:
        staging.mkdir()
        yield staging
        for path in (*staging.iterdir(), staging):
            _flush(path)
        _rename_to_new(staging, folder)
        _flush(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_new_file(path: Path, data: bytes, *, mode: int = _READ_ONLY) -> None:
    """Write a file that was not there.

    Args:
        path: of the file.
        data: all of it.
        mode: who may do what with it, from its first byte on; by default everybody may read it.

    Raises:
        FileExistsError: the file is there already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def replace_file(path: Path, data: bytes, *, mode: int = _READ_ONLY) -> None:
    """Put a file in the place of another in one step: a reader finds the old or the new one, whole."""
    with _to_take_the_place_of(path) as fresh:
        write_new_file(fresh, data, mode=mode)


@contextmanager
def staged_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of another in one step when the block ends well.

    Raises:
        OSError: it cannot be written.
    """
    with _to_take_the_place_of(path) as fresh, fresh.open("xb") as file:
        yield file


def plain_files(folder: Path) -> dict[str, int]:
    """Name -> size in bytes of each file of a folder.

    Raises:
        BundleError: something in it is a folder, a symbolic link or another thing that is no plain file.
        OSError: the folder cannot be read.
    """
    sizes: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{entry.name[:80]!r} is a link or folder, only plain files may be in it")
            sizes[entry.name] = status.st_size
    return sizes


def read_plain_file(path: Path) -> bytes:
    """All bytes of a file; a symbolic link is not followed.

    Raises:
        OSError: the file cannot be read, or is a link.
    """
    with open_plain_file(path) as file:
        return file.read()


def open_plain_file(path: Path) -> BufferedReader:
    """A file to read; a symbolic link is not followed.

    Raises:
        OSError: the file cannot be read, or is a link.
    """
    return os.fdopen(os.open(path, os.O_RDONLY | _NO_FOLLOW), "rb")


@contextmanager
def _to_take_the_place_of(path: Path) -> Iterator[Path]:
    """A hidden neighbour to be written; it is removed when the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        yield fresh
        _flush(fresh)
        fresh.replace(path)
        _flush(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _rename_to_new(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError as error:
        if folder.exists() or folder.is_symlink():
            raise FileExistsError(f"{folder} is there already") from error
        raise


def _flush(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
