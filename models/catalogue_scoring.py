"""Scores of a version for the labelled rows of a catalogue, prepared as the service prepares events.

Shape letters: B rows, C categories.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.cascade import Cascade
from models.catalogue_products import product_of
from models.inputs import PreparedBatch
from models.labels import LabelSet
from models.runtime import Classifier
from schemas.catalogue import CatalogueRow, read_catalogue
from schemas.errors import CatalogueError

__all__ = [
    "ALL_ROWS",
    "Modality",
    "ScoredRows",
    "labelled_rows",
    "score_rows",
    "unknown_categories",
    "without_certain_pictures",
]

ALL_ROWS: Final = "all"
_MAX_THREADS: Final = 8

Modality = Literal["text", "image"]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """What a version says of B rows, and which modalities it had for each."""

    probabilities_BC: NDArray[np.float32]
    text_present_B: NDArray[np.bool_]
    image_present_B: NDArray[np.bool_]
    unused_pictures: dict[str, int]


def labelled_rows(
    data: Path, *, split: str = "val", limit: int | None = None, only: Modality | None = None
) -> list[CatalogueRow]:
    """The rows of a catalogue that have a category and are of a split, or of none.

    With `only` those that have that modality, without the other one.

    Raises:
        CatalogueError: the data cannot be read, or has no such row.
    """
    rows: list[CatalogueRow] = []
    splits: Counter[str] = Counter()
    for whole in read_catalogue(data):
        if whole.category is None or (row := _shown(whole, only)) is None:
            continue
        splits[row.split or "none"] += 1
        if split == ALL_ROWS or row.split is None or row.split == split:
            rows.append(row)
        if len(rows) == limit:
            break
    if not rows:
        found = ", ".join(f"{name} ({count} rows)" for name, count in sorted(splits.items())) or "none"
        raise CatalogueError(
            f"{data}: no labelled row is of split {split!r}; splits of labelled rows there: {found}; "
            f"choose one with --split, or --split {ALL_ROWS}"
        )
    return rows


def unknown_categories(rows: Sequence[CatalogueRow], labels: LabelSet) -> dict[str, int]:
    """Categories of the rows that the model does not have -> how many rows have them."""
    unknown = Counter(str(row.category) for row in rows if row.category not in labels)
    return dict(sorted(unknown.items()))


def score_rows(
    classifier: Classifier,
    rows: Sequence[CatalogueRow],
    *,
    batch_size: int = 64,
    on_scored: Callable[[int], object] = lambda _num_rows: None,
) -> ScoredRows:
    """Score rows as the service scores events, in batches; the next batch is prepared meanwhile.

    Args:
        classifier: the version.
        rows: at least one.
        batch_size: rows scored at a time.
        on_scored: told the number of rows after each batch.
    """
    parts = []
    reasons: Counter[str] = Counter()
    for prepared in _prepared_batches(classifier, rows, batch_size):
        scores = classifier.score(prepared)
        parts.append((scores.probabilities_BC, prepared.text_present_B, prepared.image_present_B))
        reasons.update(str(reason) for reason in prepared.image_reasons if reason is not None)
        on_scored(prepared.num_products)
    probabilities, text_present, image_present = map(np.concatenate, zip(*parts, strict=True))
    return ScoredRows(probabilities, text_present, image_present, dict(reasons))


def without_certain_pictures(
    classifier: Classifier, rows: Sequence[CatalogueRow], cascade: Cascade, *, batch_size: int = 64
) -> list[CatalogueRow]:
    """The rows, those without their picture whose text alone is certain, as the service skips them.

    Args:
        classifier: the version.
        rows: any number.
        cascade: of the version.
        batch_size: texts scored at a time.
    """
    texts = {place: _shown(row, "text") for place, row in enumerate(rows) if row.has_picture}
    alone = {place: text for place, text in texts.items() if text is not None}
    if not alone:
        return list(rows)
    scored = score_rows(classifier, [*alone.values()], batch_size=batch_size)
    certain_B = cascade.is_certain(scored.probabilities_BC) & scored.text_present_B
    certain = {place: text for (place, text), sure in zip(alone.items(), certain_B, strict=True) if sure}
    return [certain.get(place, row) for place, row in enumerate(rows)]


def _prepared_batches(
    classifier: Classifier, rows: Sequence[CatalogueRow], batch_size: int
) -> Iterator[PreparedBatch]:
    num_threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(num_threads) as pictures, ThreadPoolExecutor(1) as ahead:

        def prepare(first: int) -> PreparedBatch:
            products = list(pictures.map(product_of, rows[first : first + batch_size]))
            return classifier.prepare(products, pictures)

        following = ahead.submit(prepare, 0)
        for first in range(batch_size, len(rows) + batch_size, batch_size):
            prepared = following.result()
            if first < len(rows):
                following = ahead.submit(prepare, first)
            yield prepared


def _shown(row: CatalogueRow, only: Modality | None) -> CatalogueRow | None:
    """The row with one modality alone; None where it does not have it."""
    if only is None:
        return row
    if only == "text":
        has_text = bool(row.title.strip() or row.description.strip())
        return replace(row, image_path=None, image=None) if has_text else None
    return replace(row, title="", description="") if row.has_picture else None
