"""What versions a repository has and what they say of themselves, for commands and the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.manifest import EncoderEntry
    from models.repository import ModelLocation, ModelRepository

__all__ = ["VersionSummary", "describe", "summarise"]


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """One line of the list; `error` says why there is no more to tell."""

    name: str
    version: str
    aliases: list[str]
    created_at: str | None = None
    rows: int | None = None
    weighted_f1: float | None = None
    error: str | None = None


def summarise(repository: ModelRepository) -> list[VersionSummary]:
    """Every version, models by name and the newest version first; a damaged one has its error."""
    summaries = []
    for name in repository.names():
        aliases = repository.aliases(name)
        for version in reversed(repository.versions(name)):
            called = [alias for alias, meant in aliases.items() if meant == version]
            summaries.append(_summary(repository, name, version, called))
    return summaries


def describe(location: ModelLocation, aliases: list[str]) -> dict[str, Any]:
    """All that a version says of itself, as JSON.

    Raises:
        BundleError: its manifest or its metrics are damaged.
    """
    from models.version_files import read_manifest, read_metrics

    manifest = read_manifest(location.folder)
    return {
        "name": location.name,
        "version": location.version,
        "aliases": aliases,
        "folder": str(location.folder),
        "created_at": manifest.created_at.isoformat(timespec="seconds"),
        "text": _encoder(manifest.text),
        "image": _encoder(manifest.image),
        "categories": manifest.codes,
        "metrics": read_metrics(location.folder),
        "data_fingerprint": manifest.data_fingerprint,
        "config": manifest.config,
        "libraries": manifest.libraries,
        "files": {name: entry.size_bytes for name, entry in sorted(manifest.files.items())},
    }


def _summary(repository: ModelRepository, name: str, version: str, aliases: list[str]) -> VersionSummary:
    from models.errors import BundleError
    from models.version_files import read_manifest, read_metrics

    try:
        folder = repository.outline(f"{name}@{version}").folder
        written = read_manifest(folder).created_at.isoformat(sep=" ", timespec="minutes")
        metrics = read_metrics(folder)
    except BundleError as error:
        return VersionSummary(name, version, aliases, error=str(error))
    rows, score = metrics.get("rows"), metrics.get("weighted_f1")
    return VersionSummary(
        name,
        version,
        aliases,
        written,
        rows if isinstance(rows, int) else None,
        float(score) if isinstance(score, int | float) else None,
    )


def _encoder(entry: EncoderEntry | None) -> dict[str, Any] | None:
    return None if entry is None else {"kind": entry.kind, **entry.config}
