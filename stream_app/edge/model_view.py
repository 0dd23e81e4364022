"""The model repository as the gateway shows it; everything here reads files, and runs in threads."""

from __future__ import annotations

import logging
from dataclasses import asdict
from threading import Lock
from typing import Any

from models.labels import LabelSet
from models.repository import ModelRepository, ModelSpec
from models.version_files import read_card, read_labels
from stream_app.edge.problems import ProblemError
from stream_app.model_listing import describe, summarise
from stream_app.promoting import promote_checked
from stream_app.settings import ModelSettings

__all__ = ["ModelView"]

logger = logging.getLogger(__name__)


class ModelView:
    """Answers about models, and promotes them.

    Args:
        settings: where they are, and which one serves.

    Raises:
        RepositoryError: the URL of the repository is not known.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._repository = ModelRepository(settings.model_repository, cache_dir=settings.model_cache)
        self._serving = settings.model
        self._promoting = Lock()
        self._labels: tuple[ModelSpec, LabelSet] | None = None

    def categories(self) -> dict[str, Any]:
        """The categories of the version that `SHELVER_MODEL` means now, with its name and version.

        Raises:
            ModelError: there is none, or it is damaged.
        """
        meant = self._repository.meant(self._serving)
        labels = self.labels(meant.name, meant.version or "")
        return {
            "model": {"name": meant.name, "version": meant.version},
            "categories": [{"code": label.code, "label": label.name()} for label in labels],
        }

    def labels(self, name: str, version: str) -> LabelSet:
        """The categories of a version; those of the last one asked for are kept, as a version never changes.

        Raises:
            ModelError: there is no such version, or it is damaged.
        """
        wanted = _spec(name, version)
        known = self._labels
        if known is None or known[0] != wanted:
            known = self._labels = (wanted, read_labels(self._repository.resolve(wanted).folder))
        return known[1]

    def versions(self) -> dict[str, Any]:
        """Every version with its aliases and scores, and which one is served.

        Raises:
            ModelError: the repository cannot be read.
        """
        found = [asdict(summary) for summary in summarise(self._repository)]
        return {"serving": self._serving, "versions": found}

    def version(self, name: str, version: str) -> dict[str, Any]:
        """All that a version says of itself, its card in Markdown included; nothing of where it is stored.

        Raises:
            ModelError: there is no such version, or it is damaged.
        """
        location = self._repository.outline(_spec(name, version))
        aliases = self._repository.aliases(location.name).items()
        called = [alias for alias, meant in aliases if meant == location.version]
        told = describe(location, called) | {"card": read_card(location.folder)}
        del told["folder"]
        return told

    def promote(self, name: str, alias: str, version: str, *, force: bool) -> dict[str, Any]:
        """Make an alias mean a version, as `shelver models promote` does; takes seconds, one at a time.

        Raises:
            ModelError: there is no such version, it is damaged, it scores worse, or nobody can tell.
            ProblemError: another promotion is going on, or the repository cannot be written from here.
        """
        if not self._promoting.acquire(blocking=False):
            raise ProblemError(409, "conflict", "another promotion is going on; come again when it is done")
        try:
            done = promote_checked(self._repository, str(_spec(name, version)), alias, force=force)
        except OSError as error:
            logger.warning("a version cannot be promoted: %r", error)
            raise ProblemError(
                503,
                "unavailable",
                f"this gateway cannot write to the model repository ({error.strerror or 'see its log'});"
                " promote with `shelver models promote` where that can",
            ) from error
        finally:
            self._promoting.release()
        return {
            "name": name,
            "alias": alias,
            "version": done.location.version,
            "previous_version": done.previous,
            "comparison": None if done.comparison is None else done.comparison.to_json(),
        }


def _spec(name: str, version: str) -> ModelSpec:
    return ModelSpec.parse(f"{name}@{version}")
