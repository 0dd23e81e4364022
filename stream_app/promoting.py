"""Makes an alias mean another version, unless that is damaged or worse; for commands and the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.promotion import DEFAULT_TOLERANCE, check_not_worse

if TYPE_CHECKING:
    from models.promotion import Comparison
    from models.repository import ModelLocation, ModelRepository

__all__ = ["Promotion", "promote_checked"]

CHALLENGER = "challenger"
"""The alias of versions that are tried beside the one that serves."""


class Promotion(NamedTuple):
    """What an alias means now, what it meant before, and how they compare; None where there is nothing."""

    location: ModelLocation
    previous: str | None
    comparison: Comparison | None


def promote_checked(
    repository: ModelRepository,
    model: str,
    alias: str,
    *,
    data: Path | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    force: bool = False,
) -> Promotion:
    """Check every byte and the golden scores of a version, compare it, and point the alias at it.

    The first version of an alias is compared with none, nor is one that becomes `challenger`.

    Args:
        repository: where it is.
        model: `NAME`, `NAME@VERSION` or `NAME@ALIAS`.
        alias: what shall mean it.
        data: catalogue to compare on; by default what was measured on the rows held out.
        tolerance: weighted F1 that it may lack.
        force: whether it is not compared.

    Raises:
        ModelError: there is no such version, it is damaged, it scores worse, or nobody can tell.
        CatalogueError: the data cannot be read, or has no labelled row.
    """
    from models.bundle import verify_bundle

    location = repository.resolve(model)
    must_compare = alias != CHALLENGER and not force
    previous = _previous(repository, location.name, alias, is_needed=must_compare)
    verify_bundle(location.folder)
    comparison = None
    if must_compare and previous not in (None, location.version):
        comparison = _compared(repository, location, f"{location.name}@{previous}", data)
        check_not_worse(comparison, str(location), f"{location.name}@{previous}", tolerance)
    repository.promote(f"{location.name}@{location.version}", alias)
    return Promotion(location, previous, comparison)


def _previous(repository: ModelRepository, name: str, alias: str, *, is_needed: bool) -> str | None:
    """The version that an alias means; None where there is none, or nobody needs to know of a damaged one.

    Raises:
        PromotionError: it is needed, and the alias is damaged.
    """
    from models.errors import PromotionError, RepositoryError

    try:
        return next(iter(repository.history(name, alias)), None)
    except RepositoryError as error:
        if is_needed:
            raise PromotionError(
                f"nobody can tell which version {name}@{alias} means, to compare with it: {error}"
            ) from error
        return None


def _compared(
    repository: ModelRepository, version: ModelLocation, previous: str, data: Path | None
) -> Comparison:
    """How a version compares with the one that it would replace.

    Raises:
        PromotionError: nobody can tell.
    """
    from models.errors import BundleError, PromotionError, RepositoryError
    from models.promotion import compare_held_out, compare_on

    try:
        if data is not None:
            return compare_on(data, version, repository.resolve(previous))
        comparison = compare_held_out(version, repository.outline(previous))
    except (BundleError, RepositoryError) as error:
        raise PromotionError(
            f"{version} cannot be compared with {previous}, which it would replace: {error}; promote it "
            "without a comparison with --force"
        ) from error
    if comparison is None:
        raise PromotionError(
            f"{version} and {previous}, which it would replace, were not measured on the same rows: compare "
            "them on labelled rows with --data CATALOGUE, or promote without a comparison with --force"
        )
    return comparison
