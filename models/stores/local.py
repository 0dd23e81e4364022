"""Versions in a local folder: whole in one rename, so publishers on one file system never meet half way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.files import replace_file, staged_folder
from models.stores.base import ALIASES_FOLDER, Listing, VersionStore
from models.version_files import MANIFEST_FILE

__all__ = ["LocalStore"]


class LocalStore(VersionStore):
    """A folder, which need not exist yet; hidden entries are versions and aliases being written."""

    def __init__(self, root: Path) -> None:
        """Look at a folder.

        Args:
            root: the folder.
        """
        super().__init__(str(root))
        self._root = root

    def names(self) -> list[str]:
        """As for every store."""
        with self._faults():
            return _entries(self._root)

    def listing(self, name: str) -> Listing:
        """As for every store."""
        model = self._root / name
        with self._faults():
            entries = _entries(model)
            return Listing(
                tuple(entries),
                tuple(entry for entry in entries if _is_version(model / entry)),
                tuple(_entries(model / ALIASES_FOLDER)),
            )

    def read_alias(self, name: str, alias: str) -> bytes:
        """As for every store."""
        with self._faults(FileNotFoundError):
            return self._alias_file(name, alias).read_bytes()

    def write_alias(self, name: str, alias: str, content: bytes) -> None:
        """As for every store."""
        with self._faults():
            replace_file(self._alias_file(name, alias), content)

    @contextmanager
    def staged(self, name: str, version: str) -> Iterator[Path]:
        """As for every store."""
        with self._faults(FileExistsError), staged_folder(self._root / name / version) as staging:
            yield staging

    def folder(self, name: str, version: str) -> Path:
        """As for every store; nothing is read."""
        folder = self._root / name / version
        with self._faults():
            if _is_version(folder):
                return folder
        raise FileNotFoundError(f"{folder} is no version")

    def outline(self, name: str, version: str) -> Path:
        """The folder of the version."""
        return self.folder(name, version)

    def _alias_file(self, name: str, alias: str) -> Path:
        return self._root / name / ALIASES_FOLDER / alias


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_version(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / MANIFEST_FILE).is_file()
