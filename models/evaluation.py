"""Scores of a classifier on labelled products, the same in training and in `shelver evaluate`.

F1 as scikit-learn defines it (`f1_score`, averages "weighted" and "macro", zero where undefined); calibration
error after Guo et al. 2017, equation 3, with 15 bins of equal width.
Shape letters: B products, C categories. A category is its column; -1 stands for "none of them".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.labels import Code, LabelSet

__all__ = ["NUM_CALIBRATION_BINS", "CategoryScores", "Evaluation", "ModalityScores", "evaluate", "softmax"]

NUM_CALIBRATION_BINS: Final = 15
NO_CATEGORY: Final = -1
"""As truth: a category the model does not know. As prediction: the row had no finite scores."""


@dataclass(frozen=True, slots=True)
class CategoryScores:
    """How well one category is found; `support` is the number of rows that truly are of it."""

    code: Code
    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class ModalityScores:
    """Scores of the rows that have the same modalities."""

    rows: int
    weighted_f1: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything said about one set of rows; `to_json` gives plain JSON.

    Attributes:
        rows: number of rows.
        weighted_f1: mean of the categories' F1, weighted by support; rows of unknown categories weigh with 0.
        macro_f1: plain mean over the model's categories that are true or predicted in some row.
        accuracy: share of rows whose best category is the true one.
        ece: expected calibration error of the best category's probability, rows without scores left out.
        unknown_rows: rows whose true category the model does not know.
        non_finite_rows: rows for which the model answered NaN or infinity; they count as wrong.
        by_modality: "text", "image", "text+image" or "none" -> scores of the rows that have just these.
        per_class: one entry a category, in the order of the label set.
    """

    rows: int
    weighted_f1: float
    macro_f1: float
    accuracy: float
    ece: float
    unknown_rows: int
    non_finite_rows: int
    by_modality: Mapping[str, ModalityScores]
    per_class: tuple[CategoryScores, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON: dictionaries, lists, numbers and text."""
        return asdict(self) | {"per_class": [asdict(entry) for entry in self.per_class]}


def evaluate(
    probabilities_BC: NDArray[np.float32],
    truth_B: NDArray[np.int64],
    labels: LabelSet,
    *,
    text_present_B: NDArray[np.bool_] | None = None,
    image_present_B: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Compare probabilities with the true categories.

    Args:
        probabilities_BC: float, any B including 0.
        truth_B: column of each row's category as `LabelSet.indices` gives it, -1 for an unknown one.
        labels: the model's C categories.
        text_present_B: whether each row has text; both presences or neither must be given.
        image_present_B: whether each row has a picture.

    Returns:
        The scores; each is 0 where there is no row.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if probabilities_BC.shape != (len(truth_B), len(labels)):
        raise ValueError(
            f"probabilities are {probabilities_BC.shape}, for these rows and labels they must be "
            f"{(len(truth_B), len(labels))}"
        )
    finite_B = np.isfinite(probabilities_BC).all(axis=1)
    predicted_B = np.where(finite_B, probabilities_BC.argmax(axis=1), NO_CATEGORY)
    categories = _CategoryCounts.of(predicted_B, truth_B, len(labels))
    return Evaluation(
        rows=len(truth_B),
        weighted_f1=categories.weighted_f1(),
        macro_f1=categories.macro_f1(),
        accuracy=_accuracy(predicted_B, truth_B),
        ece=_calibration_error(probabilities_BC[finite_B], truth_B[finite_B]),
        unknown_rows=int((truth_B == NO_CATEGORY).sum()),
        non_finite_rows=int((~finite_B).sum()),
        by_modality=_by_modality(predicted_B, truth_B, len(labels), text_present_B, image_present_B),
        per_class=categories.scores(labels),
    )


def softmax(logits_BC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits, rows summing to 1, no overflow; a row with NaN or +infinity gives NaN."""
    with np.errstate(invalid="ignore"):
        exponentials_BC = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True, initial=-np.inf))
        probabilities_BC: NDArray[np.float32] = exponentials_BC / exponentials_BC.sum(axis=1, keepdims=True)
    return probabilities_BC


@dataclass(frozen=True, slots=True, eq=False)
class _CategoryCounts:
    """Per category: rows that are of it, rows said to be, and rows of both; `rows` in all."""

    true_C: NDArray[np.int64]
    predicted_C: NDArray[np.int64]
    correct_C: NDArray[np.int64]
    rows: int

    @classmethod
    def of(cls, predicted_B: NDArray[np.int64], truth_B: NDArray[np.int64], num: int) -> "_CategoryCounts":
        correct_B = truth_B[(truth_B == predicted_B) & (truth_B != NO_CATEGORY)]
        return cls(
            true_C=np.bincount(truth_B[truth_B != NO_CATEGORY], minlength=num),
            predicted_C=np.bincount(predicted_B[predicted_B != NO_CATEGORY], minlength=num),
            correct_C=np.bincount(correct_B, minlength=num),
            rows=len(truth_B),
        )

    @property
    def f1_C(self) -> NDArray[np.float64]:
        return _ratio(2 * self.correct_C, self.true_C + self.predicted_C)

    def weighted_f1(self) -> float:
        return float((self.f1_C * self.true_C).sum() / max(self.rows, 1))

    def macro_f1(self) -> float:
        seen_C = (self.true_C + self.predicted_C) > 0
        return float(self.f1_C[seen_C].mean()) if seen_C.any() else 0.0

    def scores(self, labels: LabelSet) -> tuple[CategoryScores, ...]:
        precision_C = _ratio(self.correct_C, self.predicted_C)
        recall_C = _ratio(self.correct_C, self.true_C)
        f1_C = self.f1_C
        return tuple(
            CategoryScores(
                code=label.code,
                label=label.name(),
                precision=float(precision_C[column]),
                recall=float(recall_C[column]),
                f1=float(f1_C[column]),
                support=int(self.true_C[column]),
            )
            for column, label in enumerate(labels)
        )


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(part / np.maximum(whole, 1), np.float64)


def _accuracy(predicted_B: NDArray[np.int64], truth_B: NDArray[np.int64]) -> float:
    correct = (predicted_B == truth_B) & (truth_B != NO_CATEGORY)
    return float(correct.sum() / max(len(truth_B), 1))


def _calibration_error(probabilities_BC: NDArray[np.float32], truth_B: NDArray[np.int64]) -> float:
    if not len(truth_B):
        return 0.0
    confidence_B = probabilities_BC.max(axis=1).astype(np.float64)
    correct_B = (probabilities_BC.argmax(axis=1) == truth_B).astype(np.float64)
    # Bins are open below and closed above, as in the paper; a probability of 0 joins the first.
    bin_B = np.clip(np.ceil(confidence_B * NUM_CALIBRATION_BINS) - 1, 0, NUM_CALIBRATION_BINS - 1)
    gap_by_bin = np.bincount(bin_B.astype(np.int64), correct_B - confidence_B)
    return float(np.abs(gap_by_bin).sum() / len(truth_B))


def _by_modality(
    predicted_B: NDArray[np.int64],
    truth_B: NDArray[np.int64],
    num_categories: int,
    text_present_B: NDArray[np.bool_] | None,
    image_present_B: NDArray[np.bool_] | None,
) -> dict[str, ModalityScores]:
    if text_present_B is None or image_present_B is None:
        return {}
    groups = {
        "text+image": text_present_B & image_present_B,
        "text": text_present_B & ~image_present_B,
        "image": ~text_present_B & image_present_B,
        "none": ~text_present_B & ~image_present_B,
    }
    return {
        name: ModalityScores(
            rows=int(rows_B.sum()),
            weighted_f1=_CategoryCounts.of(
                predicted_B[rows_B], truth_B[rows_B], num_categories
            ).weighted_f1(),
            accuracy=_accuracy(predicted_B[rows_B], truth_B[rows_B]),
        )
        for name, rows_B in groups.items()
        if rows_B.any()
    }
