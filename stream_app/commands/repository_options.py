"""Where commands find model versions: the same two options for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.repository import ModelRepository

DEFAULT_ROOT = "repository"

Root = Annotated[
    str,
    typer.Option(
        "--repository", envvar="SHELVER_MODEL_REPOSITORY", help="Folder or fsspec URL of the repository."
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--model-cache",
        envvar="SHELVER_MODEL_CACHE",
        help="Folder for copies of versions from a URL; by default one in the user's cache.",
    ),
]


def open_repository(root: str, cache: Path | None) -> ModelRepository:
    """Open the repository that the options name.

    Raises:
        RepositoryError: its URL is not known, or the library for it is missing.
    """
    from models.repository import ModelRepository

    return ModelRepository(root, cache_dir=cache)
