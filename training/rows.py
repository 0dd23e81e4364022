"""The rows of a catalogue as training takes them: texts, pictures, categories and who is held out.

Shape letters: N rows, in the order of the catalogue.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.catalogue_products import product_of
from models.errors import ImageReason
from models.inputs import Product
from models.labels import LabelSet
from schemas.catalogue import CatalogueRow, read_catalogue, read_label_names
from schemas.errors import CatalogueError
from training.splits import CATALOGUE_SPLIT, DRAWN_SPLIT, Split, duplicate_groups, side_of, split_by_group

__all__ = ["TrainingRows", "duplicate_groups", "load_rows", "split_by_group"]

logger = logging.getLogger(__name__)


_FEW_ROWS: Final = 10


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

    def split(self) -> dict[str, list[str]]:
        """Product ids by the side of the split they are on, in the order of the catalogue."""
        sides = {"train": ~self.validation_N & ~self.pseudo_N, "val": self.validation_N}
        return {
            side: [self.rows[row].product_id for row in np.flatnonzero(of_side_N)]
            for side, of_side_N in sides.items()
        }

    @property
    def pictured_N(self) -> NDArray[np.bool_]:
        """Whether each row has a picture at hand, usable or not."""
        return np.array([_has_picture(row) for row in self.rows], np.bool_)

    def picture(self, index: int) -> bytes | ImageReason:
        """The bytes of a row's picture, or why there are none."""
        product = self.product(index)
        return product.image if product.image is not None else product.image_reason or ImageReason.UNAVAILABLE

    def product(self, index: int) -> Product:
        """One row with its picture read from disk; pictures behind an address are not fetched."""
        return product_of(self.rows[index])

    def fingerprint(self) -> dict[str, str | int]:
        """What these rows are: counts, and digests of ids, texts, categories, splits and picture names.

        `validation_sha256` is of the rows held out alone: versions with the same one were measured alike.
        """
        digest, of_held_out = hashlib.sha256(), hashlib.sha256()
        for row, held_out in zip(self.rows, self.validation_N, strict=True):
            picture = row.image_path.name if row.image_path else str(row.image)
            fields = (row.product_id, row.title, row.description, picture, str(row.category), str(held_out))
            content = repr(fields).encode("utf-8", "surrogatepass")
            digest.update(content)
            if held_out:
                of_held_out.update(content)
        return {
            "sha256": digest.hexdigest(),
            "validation_sha256": of_held_out.hexdigest(),
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
    root: Path,
    *,
    include_pseudo: bool = True,
    split: str = CATALOGUE_SPLIT,
    validation_fraction: float = 0.1,
    limit: int | None = None,
    label_names: Path | None = None,
    seed: int = 1,
) -> TrainingRows:
    """Read a catalogue and decide which rows are held out.

    The catalogue's own split counts: `val` rows are held out, `test` rows are left out. If it has no `val`
    row, or `split` is `drawn`, `validation_fraction` of the labelled rows is drawn by `seed`, near duplicates
    always together. Training rows that are near duplicates of a row held out are left out: they would be
    asked again what they have told.

    Args:
        root: whatever `schemas.catalogue.read_catalogue` reads.
        include_pseudo: also take rows whose category models gave, for training only.
        split: `catalogue` or `drawn`.
        validation_fraction: above 0, below 1.
        limit: the most rows to take, drawn by `seed`; None takes all.
        label_names: a file of names of categories; None looks for `label_names.csv` beside the rows.
        seed: of what is drawn.

    Raises:
        CatalogueError: no rows can be read, none has a category, or a setting or a split has an unknown name.
    """
    if not 0 < validation_fraction < 1:
        raise CatalogueError(
            f"validation_fraction is {validation_fraction}, it must be above 0 and below 1, such as 0.1"
        )
    if split not in (CATALOGUE_SPLIT, DRAWN_SPLIT):
        raise CatalogueError(f"split is {split[:40]!r}, it must be {CATALOGUE_SPLIT} or {DRAWN_SPLIT}")
    kept, left_out = _usable(read_catalogue(root, include_pseudo=include_pseudo), root)
    kept = _sample(kept, limit, seed)
    sides = Split.decide(kept, split=split, validation_fraction=validation_fraction, seed=seed)
    if (leaks_N := sides.leaks_N).any():
        left_out = {**left_out, "near_duplicate_of_held_out": int(leaks_N.sum())}
        kept = [row for row, leaks in zip(kept, leaks_N, strict=True) if not leaks]
        sides = sides.select(~leaks_N)
    names = _label_names(root, label_names)
    return _assemble(kept, sides, names, left_out, root)


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
    if _side_of(row, root) == "test":
        return "of_test_split"
    if not (row.title.strip() or row.description.strip() or _has_picture(row)):
        return "empty"
    return None


def _side_of(row: CatalogueRow, root: Path) -> str:
    try:
        return side_of(row)
    except CatalogueError as error:
        raise CatalogueError(f"{root}: {error}") from error


def _sample(rows: list[CatalogueRow], limit: int | None, seed: int) -> list[CatalogueRow]:
    """Up to `limit` rows, in the order of the catalogue."""
    if limit is None or limit >= len(rows):
        return rows
    if limit < 1:
        raise CatalogueError(f"limit is {limit}, it must be at least 1, or null for all rows")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:limit]
    return [rows[row] for row in sorted(chosen.tolist())]


def _label_names(root: Path, label_names: Path | None) -> Mapping[str, Mapping[str, str]]:
    if label_names is None:
        return read_label_names(root if root.is_dir() else root.parent)
    if not label_names.exists():
        raise CatalogueError(f"{label_names}: no such file; label_names takes a file of names, or null")
    return read_label_names(label_names)


def _assemble(
    kept: Sequence[CatalogueRow],
    split: Split,
    names: Mapping[str, Mapping[str, str]],
    left_out: Mapping[str, int],
    root: Path,
) -> TrainingRows:
    codes = [str(row.category) for row in kept]
    train_codes = [code for code, held_out in zip(codes, split.validation_N, strict=True) if not held_out]
    labels = LabelSet.from_codes(train_codes, names)
    if len(labels) < 2:
        raise CatalogueError(f"{root}: its training rows have {len(labels)} category, at least 2 are needed")
    rows = TrainingRows(
        rows=tuple(kept),
        labels=labels,
        truth_N=labels.indices(codes),
        validation_N=split.validation_N,
        pseudo_N=split.pseudo_N,
        groups_N=split.groups_N,
        left_out=left_out,
        root=root,
    )
    _warn_of_gaps(rows, names)
    return rows


def _warn_of_gaps(rows: TrainingRows, names: Mapping[str, Mapping[str, str]]) -> None:
    """Name the categories that the model will not know, or will know from next to nothing."""
    unseen = Counter(str(rows.rows[row].category) for row in np.flatnonzero(rows.truth_N < 0))
    if unseen:
        logger.warning(
            "held out rows have categories that no training row has; the model will not know %s",
            ", ".join(f"{code} ({count} rows)" for code, count in sorted(unseen.items())),
        )
    if missing := [code for code in names if code not in rows.labels]:
        logger.warning("label_names names categories that no training row has: %s", ", ".join(missing))
    if unnamed := [str(label.code) for label in rows.labels if names and not label.names]:
        logger.warning("label_names has no name for these categories: %s", ", ".join(unnamed))
    counts_C = np.bincount(rows.truth_N[rows.train_rows], minlength=len(rows.labels))
    if rare := [str(rows.labels.label(int(c)).code) for c in np.flatnonzero(counts_C < _FEW_ROWS)]:
        logger.warning("fewer than %d training rows have the category %s", _FEW_ROWS, ", ".join(rare))


def _has_picture(row: CatalogueRow) -> bool:
    return row.image_path is not None or (row.image is not None and row.image.data is not None)


def _is_remote(row: CatalogueRow) -> bool:
    return row.image_path is None and row.image is not None and row.image.data is None
