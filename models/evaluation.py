"""Scores of a classifier on labelled products, the same in training and in `shelver evaluate`.

F1 as scikit-learn defines it (`f1_score`, averages "weighted" and "macro", zero where undefined); calibration
error after Guo et al. 2017, equation 3, with 15 bins of equal width; selective accuracy after El-Yaniv and
Wiener 2010, "On the Foundations of Noise-free Selective Classification".
Shape letters: B products, C categories. A category is its column; -1 stands for "none of them".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from models.labels import Code, LabelSet

__all__ = [
    "COVERAGES",
    "NUM_CALIBRATION_BINS",
    "CategoryCounts",
    "CategoryScores",
    "Evaluation",
    "ModalityScores",
    "Reliability",
    "confusion_matrix",
    "evaluate",
    "reliability",
    "softmax",
]

COVERAGES: Final = (0.5, 0.8)
"""Shares of the rows, the surest first, that selective accuracy is measured on."""
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
    ece: float


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Rows by how sure the model was of its best category, in 15 bins of equal width, open below.

    Attributes:
        rows_K: int64, rows in each bin.
        confidence_K: float64, their mean probability; 0 in an empty bin.
        accuracy_K: float64, the share of them that is right; 0 in an empty bin.
    """

    rows_K: NDArray[np.int64]
    confidence_K: NDArray[np.float64]
    accuracy_K: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error."""
        gaps_K = np.abs(self.accuracy_K - self.confidence_K)
        return float((self.rows_K * gaps_K).sum() / max(int(self.rows_K.sum()), 1))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything said about one set of rows; `to_json` gives plain JSON.

    Attributes:
        rows: number of rows.
        weighted_f1: mean of the categories' F1, weighted by support; rows of unknown categories weigh with 0.
        macro_f1: plain mean over the model's categories that are true or predicted in some row.
        accuracy: share of rows whose best category is the true one.
        ece: expected calibration error of the best category's probability, rows without scores left out.
        selective_accuracy: share of the rows ("0.5", "0.8"), the surest first -> their accuracy.
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
    selective_accuracy: Mapping[str, float]
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
    categories = CategoryCounts.of(predicted_B, truth_B, len(labels))
    return Evaluation(
        rows=len(truth_B),
        weighted_f1=categories.weighted_f1(),
        macro_f1=categories.macro_f1(),
        accuracy=_accuracy(predicted_B, truth_B),
        ece=reliability(probabilities_BC, truth_B).ece,
        selective_accuracy=_selective_accuracy(probabilities_BC, predicted_B, truth_B),
        unknown_rows=int((truth_B == NO_CATEGORY).sum()),
        non_finite_rows=int((~finite_B).sum()),
        by_modality=_by_modality(probabilities_BC, predicted_B, truth_B, text_present_B, image_present_B),
        per_class=categories.scores(labels),
    )


def reliability(probabilities_BC: NDArray[np.float32], truth_B: NDArray[np.int64]) -> Reliability:
    """How often the best category is right, by how sure the model was; rows without scores are left out."""
    finite_B = np.isfinite(probabilities_BC).all(axis=1)
    probabilities_BC, truth_B = probabilities_BC[finite_B], truth_B[finite_B]
    confidence_B = probabilities_BC.max(axis=1, initial=0).astype(np.float64)
    correct_B = (probabilities_BC.argmax(axis=1) == truth_B).astype(np.float64)
    # Bins are open below and closed above, as in the paper; a probability of 0 joins the first.
    bin_B = np.clip(np.ceil(confidence_B * NUM_CALIBRATION_BINS) - 1, 0, NUM_CALIBRATION_BINS - 1)
    bin_B = bin_B.astype(np.int64)
    rows_K = np.bincount(bin_B, minlength=NUM_CALIBRATION_BINS)
    sums_K = (np.bincount(bin_B, each_B, NUM_CALIBRATION_BINS) for each_B in (confidence_B, correct_B))
    confidence_K, accuracy_K = (sum_K / np.maximum(rows_K, 1) for sum_K in sums_K)
    return Reliability(rows_K, confidence_K, accuracy_K)


def confusion_matrix(probabilities_BC: NDArray[np.float32], truth_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """counts_CC: rows that are of one category (row) and were taken for another (column).

    Rows of a category that the model does not know, and those without finite scores, are left out.
    """
    num = probabilities_BC.shape[1]
    counted_B = np.isfinite(probabilities_BC).all(axis=1) & (truth_B != NO_CATEGORY)
    pairs = truth_B[counted_B] * num + probabilities_BC[counted_B].argmax(axis=1)
    return np.bincount(pairs, minlength=num * num).reshape(num, num)


def softmax(logits_BC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits, rows summing to 1, no overflow; a row with NaN or +infinity gives NaN."""
    with np.errstate(invalid="ignore"):
        exponentials_BC = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True, initial=-np.inf))
        probabilities_BC: NDArray[np.float32] = exponentials_BC / exponentials_BC.sum(axis=1, keepdims=True)
    return probabilities_BC


@dataclass(frozen=True, slots=True, eq=False)
class CategoryCounts:
    """Per category, int64: rows that are of it, rows said to be, and rows of both; `rows` in all."""

    true_C: NDArray[np.int64]
    predicted_C: NDArray[np.int64]
    correct_C: NDArray[np.int64]
    rows: int

    @classmethod
    def of(cls, predicted_B: NDArray[np.int64], truth_B: NDArray[np.int64], num: int) -> Self:
        """Of predicted and true columns of B rows, -1 for none; `num` categories."""
        correct_B = truth_B[(truth_B == predicted_B) & (truth_B != NO_CATEGORY)]
        return cls(
            true_C=np.bincount(truth_B[truth_B != NO_CATEGORY], minlength=num),
            predicted_C=np.bincount(predicted_B[predicted_B != NO_CATEGORY], minlength=num),
            correct_C=np.bincount(correct_B, minlength=num),
            rows=len(truth_B),
        )

    @property
    def f1_C(self) -> NDArray[np.float64]:
        """F1 of each category; 0 where it is neither true nor predicted."""
        return _ratio(2 * self.correct_C, self.true_C + self.predicted_C)

    def weighted_f1(self) -> float:
        """Mean of F1 weighted by true rows; 0 without rows."""
        return float((self.f1_C * self.true_C).sum() / max(self.rows, 1))

    def macro_f1(self) -> float:
        """Plain mean of F1 over the categories that are true or predicted in some row."""
        seen_C = (self.true_C + self.predicted_C) > 0
        return float(self.f1_C[seen_C].mean()) if seen_C.any() else 0.0

    def scores(self, labels: LabelSet) -> tuple[CategoryScores, ...]:
        """One entry a category, in the order of the label set."""
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


def _selective_accuracy(
    probabilities_BC: NDArray[np.float32], predicted_B: NDArray[np.int64], truth_B: NDArray[np.int64]
) -> dict[str, float]:
    """Accuracy of the surest rows; of equally sure ones the first count, rows without scores come last."""
    confidence_B = np.where(predicted_B == NO_CATEGORY, -1.0, probabilities_BC.max(axis=1, initial=0))
    order_B = np.argsort(-confidence_B, kind="stable")
    accuracies = {}
    for coverage in COVERAGES:
        kept = order_B[: int(np.ceil(coverage * len(truth_B)))]
        accuracies[str(coverage)] = _accuracy(predicted_B[kept], truth_B[kept])
    return accuracies


def _by_modality(
    probabilities_BC: NDArray[np.float32],
    predicted_B: NDArray[np.int64],
    truth_B: NDArray[np.int64],
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
        name: _modality_scores(probabilities_BC[rows_B], predicted_B[rows_B], truth_B[rows_B])
        for name, rows_B in groups.items()
        if rows_B.any()
    }


def _modality_scores(
    probabilities_BC: NDArray[np.float32], predicted_B: NDArray[np.int64], truth_B: NDArray[np.int64]
) -> ModalityScores:
    num_categories = probabilities_BC.shape[1]
    return ModalityScores(
        rows=len(truth_B),
        weighted_f1=CategoryCounts.of(predicted_B, truth_B, num_categories).weighted_f1(),
        accuracy=_accuracy(predicted_B, truth_B),
        ece=reliability(probabilities_BC, truth_B).ece,
    )
