"""The rows of a catalogue as training takes them: texts, pictures, categories and who is held out.

Shape letters: N rows, in the order of the catalogue.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.catalogue_products import product_of
from models.inputs import Product
from models.labels import LabelSet
from models.text.cleaning import clean
from schemas.catalogue import CatalogueRow, read_catalogue, read_label_names
from schemas.errors import CatalogueError

__all__ = ["TrainingRows", "duplicate_groups", "load_rows", "split_by_group"]

_VALIDATION_NAMES: Final = frozenset({"val", "valid", "validation", "dev"})
_TRAIN_NAMES: Final = frozenset({"train", "training"})
_NO_LETTERS: Final = re.compile(r"[\W\d_]+")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """N labelled products.

    Attributes:
        rows: the products as the catalogue has them.
        labels: every category of the training rows.
        truth_N: int64, column of each row's category; -1 for one that no training row has.
        validation_N: bool, whether a row is held out to measure on.
        pseudo_N: bool, whether models gave the category; such rows are never held out.
        groups_N: int64, rows of the same group are near duplicates and belong on the same side of any split.
        left_out: why and how many rows of the catalogue are not here.
        root: the catalogue.
    """

    rows: tuple[CatalogueRow, ...]
    labels: LabelSet
    truth_N: NDArray[np.int64]
    validation_N: NDArray[np.bool_]
    pseudo_N: NDArray[np.bool_]
    groups_N: NDArray[np.int64]
    left_out: Mapping[str, int]
    root: Path

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def train_rows(self) -> NDArray[np.int64]:
        """The rows to learn from, rising."""
        return np.flatnonzero(~self.validation_N)

    @property
    def validation_rows(self) -> NDArray[np.int64]:
        """The rows held out, rising."""
        return np.flatnonzero(self.validation_N)

    @property
    def texts(self) -> list[tuple[str, str]]:
        """(title, description) of each row, as received."""
        return [(row.title, row.description) for row in self.rows]

    def product(self, index: int) -> Product:
        """One row with its picture read from disk; pictures behind an address are not fetched."""
        return product_of(self.rows[index])

    def fingerprint(self) -> dict[str, str | int]:
        """What these rows are: counts, and a digest of ids, texts, categories, splits and picture names."""
        digest = hashlib.sha256()
        for row, held_out in zip(self.rows, self.validation_N, strict=True):
            picture = row.image_path.name if row.image_path else str(row.image)
            fields = (row.product_id, row.title, row.description, picture, str(row.category), str(held_out))
            digest.update(repr(fields).encode("utf-8", "surrogatepass"))
        return {
            "sha256": digest.hexdigest(),
            "rows": len(self),
            "train_rows": int((~self.validation_N & ~self.pseudo_N).sum()),
            "pseudo_rows": int(self.pseudo_N.sum()),
            "validation_rows": int(self.validation_N.sum()),
            "rows_with_picture": sum(_has_picture(row) for row in self.rows),
            "rows_with_picture_address_only": sum(_is_remote(row) for row in self.rows),
            "categories": len(self.labels),
            **{f"left_out_{reason}": count for reason, count in self.left_out.items()},
        }


def load_rows(
    root: Path, *, include_pseudo: bool = True, validation_fraction: float = 0.1, seed: int = 1
) -> TrainingRows:
    """Read a catalogue and decide which rows are held out.

    The catalogue's own split counts: `val` rows are held out, `test` rows are left out. If it has no `val`
    row, `validation_fraction` of the labelled rows is drawn by `seed`, near duplicates always together.

    Args:
        root: whatever `schemas.catalogue.read_catalogue` reads.
        include_pseudo: also take rows whose category models gave, for training only.
        validation_fraction: above 0, below 1.
        seed: of the drawn split.

    Raises:
        CatalogueError: no rows can be read, none has a category, or a split has an unknown name.
    """
    if not 0 < validation_fraction < 1:
        raise CatalogueError(
            f"validation_fraction is {validation_fraction}, it must be above 0 and below 1, such as 0.1"
        )
    kept, left_out = _usable(read_catalogue(root, include_pseudo=include_pseudo), root)
    validation_N = np.array([_split_of(row, root) == "val" for row in kept], np.bool_)
    pseudo_N = np.array([row.pseudo for row in kept], np.bool_)
    groups_N = duplicate_groups([row.title for row in kept])
    if not validation_N.any():
        categories = np.unique([str(row.category) for row in kept], return_inverse=True)[1]
        validation_N = ~pseudo_N & split_by_group(
            groups_N, categories, fraction=validation_fraction, seed=seed, eligible_N=~pseudo_N
        )
    validation_N &= ~pseudo_N
    return _assemble(kept, validation_N, pseudo_N, groups_N, left_out, root)


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


def _usable(rows: Iterable[CatalogueRow], root: Path) -> tuple[list[CatalogueRow], dict[str, int]]:
    kept: list[CatalogueRow] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        reason = _why_left_out(row, root)
        if reason is None:
            kept.append(row)
        else:
            left_out[reason] += 1
    if not kept:
        raise CatalogueError(
            f"{root}: no row has a category, so there is nothing to learn ({dict(left_out)})"
        )
    return kept, dict(left_out)


def _why_left_out(row: CatalogueRow, root: Path) -> str | None:
    if row.category is None:
        return "without_category"
    if _split_of(row, root) == "test":
        return "of_test_split"
    if not (row.title.strip() or row.description.strip() or _has_picture(row)):
        return "empty"
    return None


def _split_of(row: CatalogueRow, root: Path) -> str:
    split = (row.split or "train").strip().lower()
    if split in _VALIDATION_NAMES:
        return "val"
    if split in _TRAIN_NAMES:
        return "train"
    if split == "test":
        return "test"
    raise CatalogueError(
        f"{root}: product {row.product_id[:40]} is of split {split[:40]!r}; allowed are train, val and test"
    )


def _assemble(
    kept: Sequence[CatalogueRow],
    validation_N: NDArray[np.bool_],
    pseudo_N: NDArray[np.bool_],
    groups_N: NDArray[np.int64],
    left_out: Mapping[str, int],
    root: Path,
) -> TrainingRows:
    codes = [str(row.category) for row in kept]
    train_codes = [code for code, held_out in zip(codes, validation_N, strict=True) if not held_out]
    labels = LabelSet.from_codes(train_codes, read_label_names(root) if root.is_dir() else {})
    if len(labels) < 2:
        raise CatalogueError(f"{root}: its training rows have {len(labels)} category, at least 2 are needed")
    return TrainingRows(
        rows=tuple(kept),
        labels=labels,
        truth_N=labels.indices(codes),
        validation_N=validation_N,
        pseudo_N=pseudo_N,
        groups_N=groups_N,
        left_out=left_out,
        root=root,
    )


def _has_picture(row: CatalogueRow) -> bool:
    return row.image_path is not None or (row.image is not None and row.image.data is not None)


def _is_remote(row: CatalogueRow) -> bool:
    return row.image_path is None and row.image is not None and row.image.data is None
