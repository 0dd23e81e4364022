"""How well the categories of a test set agree with those that it has already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation import CategoryCounts, CategoryScores, confusion_matrix
from models.labels import Label, LabelSet
from schemas.catalogue_rows import CatalogueRow
from stream_app.console.answers import Categories, ProductAnswer

__all__ = ["SetScores", "score"]


@dataclass(frozen=True, slots=True)
class SetScores:
    """Scores of the labelled rows that have got a category.

    Attributes:
        rows: how many.
        accuracy: share that is right.
        weighted_f1: mean F1 of the categories, weighted by rows.
        macro_f1: plain mean over those that are true or predicted in some row.
        per_category: one entry for each of those.
        confusion: true label, predicted label and rows, where there are any.
    """

    rows: int
    accuracy: float
    weighted_f1: float
    macro_f1: float
    per_category: tuple[CategoryScores, ...]
    confusion: tuple[tuple[str, str, int], ...]


def score(
    rows: Sequence[CatalogueRow], outcomes: Sequence[ProductAnswer | None], known: Categories
) -> SetScores | None:
    """Compare; None where no labelled row has got a category.

    Args:
        rows: of the test set.
        outcomes: of each.
        known: categories of the version that serves; what it does not know counts as wrong.
    """
    labels = LabelSet(Label(each.code, {"": each.label}) for each in known.categories)
    pairs = [
        (row.category, outcome.assigned.category.code)
        for row, outcome in zip(rows, outcomes, strict=True)
        if row.category is not None and outcome is not None and outcome.assigned is not None
    ]
    if not pairs:
        return None
    truth_B = labels.indices([true for true, _ in pairs])
    predicted_B = labels.indices([code for _, code in pairs])
    counts = CategoryCounts.of(predicted_B, truth_B, len(labels))
    return SetScores(
        rows=len(pairs),
        accuracy=float(counts.correct_C.sum() / len(pairs)),
        weighted_f1=counts.weighted_f1(),
        macro_f1=counts.macro_f1(),
        per_category=tuple(
            each
            for each, predicted in zip(counts.scores(labels), counts.predicted_C.tolist(), strict=True)
            if each.support or predicted
        ),
        confusion=_confusion(predicted_B, truth_B, labels),
    )


def _confusion(
    predicted_B: NDArray[np.int64], truth_B: NDArray[np.int64], labels: LabelSet
) -> tuple[tuple[str, str, int], ...]:
    names = [label.name() for label in labels]
    known_B = predicted_B >= 0
    certain_BC = np.eye(len(names), dtype=np.float32)[predicted_B[known_B]]
    counts_CC = confusion_matrix(certain_BC, truth_B[known_B])
    return tuple(
        (names[true], names[predicted], int(counts_CC[true, predicted]))
        for true, predicted in np.argwhere(counts_CC).tolist()
    )
