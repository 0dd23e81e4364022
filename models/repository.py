"""Where versions of models live, and which of them is meant by a name.

```
<root>/<name>/1/ 2/ 3/ ...             versions, each a folder as models/bundle.py writes it
<root>/<name>/aliases/champion         one line, the number of a version; replaced in one step
```

Nothing is locked. Publishers meet at the rename that makes a version visible: one wins a number, the other
takes the next. Hidden entries (leading dot) are versions and aliases being written and are never looked at.
Only local folders are served now; `resolve` answers with one, so that a remote root may later fill a cache.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from models.errors import RepositoryError
from models.files import replace_file, staged_folder
from models.manifest import NAME_PATTERN, VERSION_PATTERN
from models.version_files import MANIFEST_FILE, read_manifest

__all__ = ["LATEST", "ModelLocation", "ModelRepository", "ModelSpec"]

LATEST: Final = "latest"
"""Stands for the highest version wherever an alias may stand, and is none itself."""

_NAME: Final = re.compile(NAME_PATTERN.removesuffix("$"))
_VERSION: Final = re.compile(VERSION_PATTERN.removesuffix("$"))
_ALIAS: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_ALIASES_FOLDER: Final = "aliases"
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_MAX_ATTEMPTS: Final = 100


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which version somebody asks for: `fusion@3`, `fusion@champion`, or `fusion` for the highest one."""

    name: str
    version: str | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME`, `NAME@VERSION` or `NAME@ALIAS`.

        Raises:
            RepositoryError: the text is none of them.
        """
        name, separator, selector = text.partition("@")
        if _NAME.fullmatch(name):
            if not separator or selector == LATEST:
                return cls(name)
            if _VERSION.fullmatch(selector):
                return cls(name, version=selector)
            if _ALIAS.fullmatch(selector):
                return cls(name, alias=selector)
        raise RepositoryError(
            f"{text[:80]!r} names no model: write NAME, NAME@VERSION or NAME@ALIAS, such as fusion@3 or "
            "fusion@champion (letters, digits, '.', '_', '-')"
        )

    def __str__(self) -> str:
        selector = self.version or self.alias
        return f"{self.name}@{selector}" if selector else self.name


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """One version and the local folder it is in."""

    name: str
    version: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class ModelRepository:
    """The versions and aliases under one root; safe for any number of processes at once."""

    def __init__(self, root: str | Path) -> None:
        """Look at a root, which need not exist yet.

        Args:
            root: a local folder, as a path or a `file://` URL.

        Raises:
            RepositoryError: the root is another URL.
        """
        self.root = _local_folder(root)

    def names(self) -> tuple[str, ...]:
        """The models that have a version, sorted.

        Raises:
            RepositoryError: the root cannot be read.
        """
        with _disk_faults(self.root):
            found = [name for name in _entries(self.root) if _NAME.fullmatch(name)]
            return tuple(sorted(name for name in found if self.versions(name)))

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model, lowest first; none when there is no such model.

        Raises:
            RepositoryError: the name is not one a model can have, or the root cannot be read.
        """
        model = self._model_folder(name)
        with _disk_faults(self.root):
            return tuple(number for number in _numbers(model) if _is_version(model / number))

    def aliases(self, name: str) -> dict[str, str]:
        """Alias -> version, sorted by alias.

        Raises:
            RepositoryError: the name is not one a model can have, or an alias file holds no version.
        """
        return {alias: self._aliased(name, alias) for alias in self._alias_names(name)}

    def next_version(self, name: str) -> str:
        """The number the next version gets: above every number there is or an alias points to.

        Raises:
            RepositoryError: the name is not one a model can have, or the root cannot be read.
        """
        taken = _numbers(self._model_folder(name))
        for alias in self._alias_names(name):
            with suppress(RepositoryError):  # a damaged alias must not cost a trained model
                taken.append(self._aliased(name, alias))
        return str(1 + max(map(int, taken), default=0))

    def publish(self, name: str, writer: Callable[[Path, str], object]) -> ModelLocation:
        """Add a version; it becomes visible in one step, when all of it is on disk.

        Args:
            name: the model.
            writer: called with an empty folder and the version's number, to fill the folder with
                `models.bundle.write_bundle`; called again with another number when somebody else was faster.

        Returns:
            Where the new version is.

        Raises:
            RepositoryError: the name is not one a model can have, or what was written is another version.
            BundleError: what was written is no version.
        """
        model = self._model_folder(name)
        for _ in range(_MAX_ATTEMPTS):
            location = ModelLocation(name, version := self.next_version(name), model / version)
            try:
                with _disk_faults(self.root), staged_folder(location.folder) as staging:
                    writer(staging, version)
                    _check_written(staging, location)
            except FileExistsError:
                continue
            return location
        raise RepositoryError(
            f"version {name}@{version} could not be published: others were faster {_MAX_ATTEMPTS} times"
        )

    def resolve(self, spec: str | ModelSpec) -> ModelLocation:
        """The version somebody asks for; reads at most one small file, so it may be asked every second.

        Raises:
            RepositoryError: there is no such model, version or alias.
        """
        wanted = ModelSpec.parse(spec) if isinstance(spec, str) else spec
        folder = self._model_folder(wanted.name)
        if wanted.version is not None:
            version = wanted.version
        elif wanted.alias is not None:
            version = self._aliased(wanted.name, wanted.alias)
        else:
            version = next(reversed(self.versions(wanted.name)), "")
        with _disk_faults(self.root):
            if not version or not _is_version(folder / version):
                raise self._unknown(wanted, version)
        return ModelLocation(wanted.name, version, folder / version)

    def promote(self, spec: str | ModelSpec, alias: str) -> ModelLocation:
        """Point an alias at a version, in one step: a reader finds the old or the new one.

        Returns:
            The version the alias now points to.

        Raises:
            RepositoryError: there is no such version, or the alias is not one a model can have.
        """
        if alias == LATEST or not _ALIAS.fullmatch(alias):
            raise RepositoryError(
                f"{alias[:80]!r} cannot be an alias: use a letter, then letters, digits, '.', '_', '-'; "
                f"{LATEST!r} always is the highest version"
            )
        location = self.resolve(spec)
        with _disk_faults(self.root):
            replace_file(self._alias_file(location.name, alias), f"{location.version}\n".encode())
        return location

    def _model_folder(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise RepositoryError(
                f"{name[:80]!r} cannot be a model's name: use letters and digits, after the first also "
                "'.', '_', '-'"
            )
        return self.root / name

    def _alias_file(self, name: str, alias: str) -> Path:
        return self._model_folder(name) / _ALIASES_FOLDER / alias

    def _aliased(self, name: str, alias: str) -> str:
        path = self._alias_file(name, alias)
        try:
            version = path.read_text("ascii").strip()
        except FileNotFoundError as error:
            raise self._unknown(ModelSpec(name, alias=alias), "") from error
        except (OSError, UnicodeError) as error:
            raise RepositoryError(f"alias {name}@{alias} cannot be read from {path}: {error}") from error
        if not _VERSION.fullmatch(version):
            raise RepositoryError(
                f"alias file {path} must hold the number of a version, not {version[:40]!r}; promote one"
            )
        return version

    def _unknown(self, wanted: ModelSpec, version: str) -> RepositoryError:
        meant = f" (version {version})" if wanted.alias and version else ""
        versions = ", ".join(self.versions(wanted.name)[-5:])
        if not versions:
            known = ", ".join(self.names()) or "none"
            return RepositoryError(f"there is no model {wanted.name!r} in {self.root}; models there: {known}")
        return RepositoryError(
            f"there is no {wanted}{meant} in {self.root}; newest versions: {versions}; "
            f"aliases: {', '.join(self._alias_names(wanted.name)) or 'none'}"
        )

    def _alias_names(self, name: str) -> list[str]:
        folder = self._model_folder(name) / _ALIASES_FOLDER
        with _disk_faults(self.root):
            return sorted(alias for alias in _entries(folder) if _ALIAS.fullmatch(alias))


def _local_folder(root: str | Path) -> Path:
    url = _URL.fullmatch(str(root))
    if url is None:
        return Path(root)
    scheme, path = url.groups()
    if scheme.lower() != "file":
        raise RepositoryError(
            f"repository {str(root)[:80]!r}: only local folders are served, not {scheme}://"
        )
    return Path(path)


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbers(model: Path) -> list[str]:
    """Names of entries that look like versions, lowest first, whether they are any good or not."""
    return sorted((entry for entry in _entries(model) if _VERSION.fullmatch(entry)), key=int)


def _is_version(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / MANIFEST_FILE).is_file()


def _check_written(folder: Path, location: ModelLocation) -> None:
    manifest = read_manifest(folder)
    if (manifest.name, manifest.version) != (location.name, location.version):
        raise RepositoryError(
            f"what was written is {manifest.name}@{manifest.version}, it was to be {location}"
        )


@contextmanager
def _disk_faults(root: Path) -> Iterator[None]:
    """Make a disk that is full, read-only or closed to us a fault of the repository, which names it."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise RepositoryError(f"repository {root} cannot be used: {error}") from error
