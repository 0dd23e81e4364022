"""Which rows are held out: as the catalogue says, or drawn; near duplicates always on one side.

Shape letters: N rows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.text.cleaning import clean
from schemas.catalogue import CatalogueRow
from schemas.errors import CatalogueError

__all__ = ["CATALOGUE_SPLIT", "DRAWN_SPLIT", "Split", "duplicate_groups", "side_of", "split_by_group"]

CATALOGUE_SPLIT: Final = "catalogue"
DRAWN_SPLIT: Final = "drawn"

_VALIDATION_NAMES: Final = frozenset({"val", "valid", "validation", "dev"})
_TRAIN_NAMES: Final = frozenset({"train", "training"})
_NO_LETTERS: Final = re.compile(r"[\W\d_]+")


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Sides of N rows.

    Attributes:
        validation_N: bool, whether a row is held out.
        pseudo_N: bool, whether models gave its category; such rows are never held out.
        groups_N: int64, equal for near duplicates.
    """

    validation_N: NDArray[np.bool_]
    pseudo_N: NDArray[np.bool_]
    groups_N: NDArray[np.int64]

    @classmethod
    def decide(
        cls, rows: Sequence[CatalogueRow], *, split: str, validation_fraction: float, seed: int
    ) -> Self:
        """The split of the catalogue if it has one and is asked for it, else one drawn by the seed."""
        groups_N = duplicate_groups([row.title for row in rows])
        pseudo_N = np.array([row.pseudo for row in rows], np.bool_)
        validation_N = np.zeros(len(rows), np.bool_)
        if split == CATALOGUE_SPLIT:
            validation_N = np.array([side_of(row) == "val" for row in rows], np.bool_)
        if not validation_N.any():
            categories_N = np.unique([str(row.category) for row in rows], return_inverse=True)[1]
            validation_N = split_by_group(
                groups_N, categories_N, fraction=validation_fraction, seed=seed, eligible_N=~pseudo_N
            )
        return cls(validation_N & ~pseudo_N, pseudo_N, groups_N)

    @property
    def leaks_N(self) -> NDArray[np.bool_]:
        """Whether a training row is a near duplicate of one held out: it would be asked what it has told."""
        return ~self.validation_N & np.isin(self.groups_N, self.groups_N[self.validation_N])

    def select(self, kept_N: NDArray[np.bool_]) -> Self:
        """The sides of the rows of a mask."""
        return type(self)(self.validation_N[kept_N], self.pseudo_N[kept_N], self.groups_N[kept_N])


def side_of(row: CatalogueRow) -> str:
    """`train`, `val` or `test`: which part of the catalogue a row belongs to; `train` where it does not say.

    Raises:
        CatalogueError: its split has another name.
    """
    split = (row.split or "train").strip().lower()
    if split in _VALIDATION_NAMES:
        return "val"
    if split in _TRAIN_NAMES:
        return "train"
    if split == "test":
        return "test"
    raise CatalogueError(
        f"product {row.product_id[:40]} is of split {split[:40]!r}; allowed are train, val and test"
    )


def duplicate_groups(titles: Sequence[str]) -> NDArray[np.int64]:
    """A number for each title, equal for those with the same letters once cleaned; digits do not count.

    A title without letters is alone in its group.
    """
    number_of: dict[str, int] = {}
    keys = (_NO_LETTERS.sub(" ", clean(title)).strip() or f"\0{row}" for row, title in enumerate(titles))
    return np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)


def split_by_group(
    groups_N: NDArray[np.int64],
    categories_N: NDArray[np.int64],
    *,
    fraction: float,
    seed: int,
    eligible_N: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Draw whole groups until `fraction` of the eligible rows is held out; every category keeps a row.

    Args:
        groups_N: group of each row.
        categories_N: category of each row, from 0.
        fraction: of the rows.
        seed: the same seed and rows give the same split.
        eligible_N: rows that may be held out, all by default; the others of a drawn group are marked as well.

    Returns:
        bool, whether a row is held out; at least one is as long as any category has two groups.
    """
    eligible_N = np.ones(len(groups_N), np.bool_) if eligible_N is None else eligible_N
    wanted = max(1, round(fraction * eligible_N.sum()))
    left_C = np.bincount(categories_N)
    rows_of_group = np.split(np.argsort(groups_N, kind="stable"), np.cumsum(np.bincount(groups_N))[:-1])
    held_out_N = np.zeros(len(groups_N), np.bool_)
    for group in np.random.default_rng(seed).permutation(len(rows_of_group)):
        rows = rows_of_group[group]
        cost_C = np.bincount(categories_N[rows], minlength=len(left_C))
        if not eligible_N[rows].any() or (left_C[cost_C > 0] <= cost_C[cost_C > 0]).any():
            continue
        held_out_N[rows] = True
        left_C -= cost_C
        if (held_out_N & eligible_N).sum() >= wanted:
            break
    return held_out_N
