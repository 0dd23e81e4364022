"""The little that a repository asks of the place where its files are."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from models.errors import ModelError, RepositoryError

__all__ = ["ALIASES_FOLDER", "Listing", "VersionStore", "without_secrets"]

ALIASES_FOLDER: Final = "aliases"
_USER: Final = re.compile(r"//[^/\s]*@")
_QUERY: Final = re.compile(r"\?[^\s'\"]*")
_SHOWN_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Listing:
    """Names of what is kept of a model, in no order; some may be neither versions nor aliases.

    Attributes:
        entries: everything that stands where versions stand.
        whole: of these, what holds a manifest.
        aliases: everything that stands where aliases stand.
    """

    entries: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class VersionStore(ABC):
    """Versions and aliases under one root, by names that the repository has checked.

    Every method raises RepositoryError when the store cannot be reached, read or written.
    """

    _fault: ClassVar[type[Exception]] = OSError
    """What this kind of store raises when it cannot be used."""

    def __init__(self, shown: str) -> None:
        """Look at a root.

        Args:
            shown: the root as messages may show it.
        """
        self.shown = shown

    @abstractmethod
    def names(self) -> list[str]:
        """What stands where models stand, in no order; some may be none."""

    @abstractmethod
    def listing(self, name: str) -> Listing:
        """What is kept of a model; nothing where there is no such model."""

    @abstractmethod
    def read_alias(self, name: str, alias: str) -> bytes:
        """The content of an alias; costs one small read.

        Raises:
            FileNotFoundError: there is no such alias.
        """

    @abstractmethod
    def write_alias(self, name: str, alias: str, content: bytes) -> None:
        """Set the content of an alias in one step: a reader finds the old or the new one, whole."""

    @abstractmethod
    def staged(self, name: str, version: str) -> AbstractContextManager[Path]:
        """An empty local folder to fill that becomes a version, in one step, when the block ends well.

        Raises:
            FileExistsError: the number is taken, when the block ends.
        """

    @abstractmethod
    def folder(self, name: str, version: str) -> Path:
        """The local folder of a version.

        Raises:
            FileNotFoundError: there is no such version.
            BundleError: a version that had to be fetched is damaged.
        """

    @abstractmethod
    def outline(self, name: str, version: str) -> Path:
        """As `folder`, of a version whose manifest, scores and card suffice."""

    @contextmanager
    def _faults(self, *passing: type[Exception]) -> Iterator[None]:
        """Make what the store raises a fault of the repository, which names it; let some pass."""
        try:
            yield
        except Exception as error:
            if isinstance(error, (*passing, ModelError)) or not isinstance(error, self._fault):
                raise
            raise RepositoryError(f"repository {self.shown} cannot be used: {_told(error)}") from error


def without_secrets(text: str) -> str:
    """A text with URLs in it, without the users, passwords and query strings of these."""
    return _QUERY.sub("", _USER.sub("//", text))


def _told(error: Exception) -> str:
    """One line about an error."""
    lines = without_secrets(str(error)).splitlines()
    return (lines[0] if lines else type(error).__name__)[:_SHOWN_CHARACTERS]
