"""Where versions of models live, and which of them is meant by a name.

```
<root>/<name>/1/ 2/ 3/ ...       versions, each a folder as models/bundle.py writes it
<root>/<name>/aliases/champion   numbers of versions, one a line: the one that is meant, then those before
```

The root is a local folder or a URL that fsspec knows (models/stores). Nothing is locked. Publishers meet
where a number is taken: one wins it, the other takes the next. An alias is replaced in one step; of two who
set it at once the last one counts, with the history that it saw. Hidden entries (leading dot) are versions
and aliases being written and are never looked at.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from models.cache_dir import default_cache_dir
from models.errors import RepositoryError
from models.manifest import NAME_PATTERN, VERSION_PATTERN
from models.stores.base import Listing, VersionStore
from models.stores.local import LocalStore
from models.version_files import read_manifest

__all__ = ["LATEST", "ModelLocation", "ModelRepository", "ModelSpec"]

LATEST: Final = "latest"
"""Stands for the highest version wherever an alias may stand, and is none itself."""

_NAME: Final = re.compile(NAME_PATTERN.removesuffix("$"))
_VERSION: Final = re.compile(VERSION_PATTERN.removesuffix("$"))
_ALIAS: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_MAX_ATTEMPTS: Final = 100
_MAX_BEFORE: Final = 20
_TIMEOUT_SECONDS: Final = 20.0


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
    """The versions and aliases under one root; safe for any number of processes and threads at once."""

    def __init__(
        self,
        root: str | Path,
        *,
        cache_dir: str | Path | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        """Look at a root, which need not exist yet.

        Args:
            root: a local folder, as a path or a `file://` URL, or any other URL that fsspec knows.
            cache_dir: folder for copies of versions from a URL; by default one in the user's cache.
            timeout_seconds: the longest wait for a small answer of a URL.

        Raises:
            RepositoryError: fsspec does not know the URL, or the library for it is missing.
        """
        self._store = _open_store(root, cache_dir, timeout_seconds)

    @property
    def root(self) -> str:
        """The root as messages show it, without passwords."""
        return self._store.shown

    def names(self) -> tuple[str, ...]:
        """The models that have a version, sorted.

        Raises:
            RepositoryError: the root cannot be read.
        """
        found = [name for name in self._store.names() if _NAME.fullmatch(name)]
        return tuple(sorted(name for name in found if self.versions(name)))

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model, lowest first; none when there is no such model.

        Raises:
            RepositoryError: the name is not one a model can have, or the root cannot be read.
        """
        return tuple(_numbers(self._listing(name).whole))

    def aliases(self, name: str) -> dict[str, str]:
        """Alias -> version, sorted by alias.

        Raises:
            RepositoryError: the name is not one a model can have, or an alias file holds no version.
        """
        return {alias: self._aliased(name, alias)[0] for alias in _alias_names(self._listing(name))}

    def history(self, name: str, alias: str) -> tuple[str, ...]:
        """The version that an alias means, then up to 20 that it meant before, newest first.

        Empty where there is no such alias.

        Raises:
            RepositoryError: the name is not one a model can have, the alias is damaged, or the root cannot be
                read.
        """
        content = self._alias_content(name, alias)
        if content is None:
            return ()
        versions = _parsed_history(content)
        if not versions:
            raise RepositoryError(
                f"alias {name}@{alias} in {self.root} must hold numbers of versions, one a line, not "
                f"{content[:40]!r}; promote one with --force"
            )
        return versions

    def next_version(self, name: str) -> str:
        """The number the next version gets: above every number there is or an alias points to.

        Raises:
            RepositoryError: the name is not one a model can have, or the root cannot be read.
        """
        listing = self._listing(name)
        taken = _numbers(listing.entries)
        for alias in _alias_names(listing):
            taken += self._readable_history(name, alias)
        return str(1 + max(map(int, taken), default=0))

    def publish(self, name: str, writer: Callable[[Path, str], object]) -> ModelLocation:
        """Add a version; it becomes visible in one step, when all of it is stored.

        Args:
            name: the model.
            writer: called with an empty folder and the version's number, to fill the folder with
                `models.bundle.write_bundle`; called again with another number when somebody else was faster.

        Returns:
            Where the new version is.

        Raises:
            RepositoryError: the name is not one a model can have, the root cannot be written, or what was
                written is another version.
            BundleError: what was written is no version.
        """
        for _ in range(_MAX_ATTEMPTS):
            version = self.next_version(name)
            try:
                with self._store.staged(name, version) as staging:
                    writer(staging, version)
                    _check_written(staging, name, version)
            except FileExistsError:
                continue
            return self._located(ModelSpec(name, version), version)
        raise RepositoryError(
            f"version {name}@{version} could not be published: others were faster {_MAX_ATTEMPTS} times"
        )

    def meant(self, spec: str | ModelSpec) -> ModelSpec:
        """The version somebody asks for, by its number; it is not looked at.

        Raises:
            RepositoryError: there is no such alias, the model has no version, or the root cannot be read.
        """
        wanted = _parsed(spec)
        version = self._number(wanted)
        if not version:
            raise self._unknown(wanted, version)
        return ModelSpec(wanted.name, version)

    def resolve(self, spec: str | ModelSpec) -> ModelLocation:
        """The version somebody asks for, in a local folder; cheap enough to be asked every second.

        By alias it reads one small file, by number none; the first time also the version's manifest, and from
        a URL the whole version unless a sound copy is there.

        Raises:
            RepositoryError: there is no such model, version or alias, or the root cannot be read.
            BundleError: a version that had to be fetched is damaged.
        """
        wanted = _parsed(spec)
        return self._located(wanted, self._number(wanted))

    def outline(self, spec: str | ModelSpec) -> ModelLocation:
        """As `resolve`; from a URL the folder holds the manifest, the scores and the model card alone.

        Raises:
            RepositoryError: there is no such model, version or alias, or the root cannot be read.
            BundleError: one of these files is damaged.
        """
        wanted = _parsed(spec)
        return self._located(wanted, self._number(wanted), outline=True)

    def promote(self, spec: str | ModelSpec, alias: str) -> ModelLocation:
        """Point an alias at a version, in one step: a reader finds the old or the new one.

        Returns:
            The version the alias now points to.

        Raises:
            RepositoryError: there is no such version, or the alias is not one a model can have.
            BundleError: a version that had to be fetched is damaged.
        """
        if alias == LATEST or not _ALIAS.fullmatch(alias):
            raise RepositoryError(
                f"{alias[:80]!r} cannot be an alias: use a letter, then letters, digits, '.', '_', '-'; "
                f"{LATEST!r} always is the highest version"
            )
        location = self.resolve(spec)
        before = self._readable_history(location.name, alias)
        if before[:1] != (location.version,):
            self._write_alias(location.name, alias, (location.version, *before))
        return location

    def rollback(self, name: str, alias: str) -> ModelLocation:
        """Point an alias at the version that it meant before; another time, at the one before that.

        Returns:
            The version the alias now points to.

        Raises:
            RepositoryError: there is no such alias, it meant nothing before, or that version is gone.
            BundleError: a version that had to be fetched is damaged.
        """
        meant, *before = self._aliased(name, alias)
        if not before:
            raise RepositoryError(
                f"{name}@{alias} has meant no version before {meant}, so there is nothing to go back to; "
                "promote one"
            )
        location = self.resolve(ModelSpec(name, before[0]))
        self._write_alias(name, alias, tuple(before))
        return location

    def _write_alias(self, name: str, alias: str, versions: tuple[str, ...]) -> None:
        lines = versions[: 1 + _MAX_BEFORE]
        self._store.write_alias(name, alias, "".join(f"{version}\n" for version in lines).encode())

    def _listing(self, name: str) -> Listing:
        _check_name(name)
        return self._store.listing(name)

    def _aliased(self, name: str, alias: str) -> tuple[str, ...]:
        """As `history`, of an alias that there must be."""
        versions = self.history(name, alias)
        if not versions:
            raise self._unknown(ModelSpec(name, alias=alias), "")
        return versions

    def _readable_history(self, name: str, alias: str) -> tuple[str, ...]:
        """As `history`, empty where the alias is damaged too."""
        return _parsed_history(self._alias_content(name, alias) or b"")

    def _alias_content(self, name: str, alias: str) -> bytes | None:
        _check_name(name)
        try:
            return self._store.read_alias(name, alias)
        except FileNotFoundError:
            return None

    def _number(self, wanted: ModelSpec) -> str:
        """The number of the version, which may not exist; empty where a model has none."""
        _check_name(wanted.name)
        if wanted.version is not None:
            return wanted.version
        if wanted.alias is not None:
            return self._aliased(wanted.name, wanted.alias)[0]
        return next(reversed(self.versions(wanted.name)), "")

    def _located(self, wanted: ModelSpec, version: str, *, outline: bool = False) -> ModelLocation:
        if not version:
            raise self._unknown(wanted, version)
        find = self._store.outline if outline else self._store.folder
        try:
            return ModelLocation(wanted.name, version, find(wanted.name, version))
        except FileNotFoundError as error:
            raise self._unknown(wanted, version) from error

    def _unknown(self, wanted: ModelSpec, version: str) -> RepositoryError:
        meant = f" (version {version})" if wanted.alias and version else ""
        listing = self._listing(wanted.name)
        versions = ", ".join(_numbers(listing.whole)[-5:])
        if not versions:
            known = ", ".join(self.names()) or "none"
            return RepositoryError(f"there is no model {wanted.name!r} in {self.root}; models there: {known}")
        return RepositoryError(
            f"there is no {wanted}{meant} in {self.root}; newest versions: {versions}; "
            f"aliases: {', '.join(_alias_names(listing)) or 'none'}"
        )


def _open_store(root: str | Path, cache_dir: str | Path | None, timeout_seconds: float) -> VersionStore:
    scheme, separator, path = str(root).partition("://")
    if not separator:
        return LocalStore(Path(root))
    if scheme.lower() == "file":
        return LocalStore(Path(path))
    from models.stores.cache import VersionCache
    from models.stores.remote import RemoteStore

    cache = VersionCache(Path(cache_dir) if cache_dir else default_cache_dir() / "models")
    return RemoteStore(str(root), cache, timeout_seconds)


def _parsed_history(content: bytes) -> tuple[str, ...]:
    """The numbers in the content of an alias; none where it holds anything else."""
    lines = tuple(content.decode("ascii", "replace").split())
    return lines if all(map(_VERSION.fullmatch, lines)) else ()


def _parsed(spec: str | ModelSpec) -> ModelSpec:
    return ModelSpec.parse(spec) if isinstance(spec, str) else spec


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RepositoryError(
            f"{name[:80]!r} cannot be a model's name: use letters and digits, after the first also "
            "'.', '_', '-'"
        )


def _numbers(entries: Iterable[str]) -> list[str]:
    """Entries that look like versions, lowest first, whether they are any good or not."""
    return sorted((entry for entry in entries if _VERSION.fullmatch(entry)), key=int)


def _alias_names(listing: Listing) -> list[str]:
    return sorted(alias for alias in listing.aliases if _ALIAS.fullmatch(alias))


def _check_written(folder: Path, name: str, version: str) -> None:
    manifest = read_manifest(folder)
    if (manifest.name, manifest.version) != (name, version):
        raise RepositoryError(
            f"what was written is {manifest.name}@{manifest.version}, it was to be {name}@{version}"
        )
