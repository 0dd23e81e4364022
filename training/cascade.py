"""From when on a text alone is certain enough to leave the picture: the threshold of a version's cascade.

With F the weighted F1 of rows that have text and picture, and p_r the calibrated probability of the best
category by the text of row r alone,

    loss(t) = F(every row by both) - F(rows with p_r >= t by the text alone, the others by both)

The threshold is the lowest p_r of a row held out so that loss(t) <= max_loss for it and for every t above it,
on two sets of rows: those held out, which the stored version answers as it will when it serves, and the
training rows out of fold, answered by encoders and fusions that never saw them. The first set is the one that
the threshold is meant for, but often small, and a threshold that is chosen and measured on the same few rows
looks better than it is; the second is larger and has to agree. That every t above must hold as well keeps a
lucky row from paying for an unlucky one before it. Both losses are told with their numbers of rows: where one
row counts for more than max_loss, the loss of those rows is 0 or a gain.

Shape letters: R rows with text and picture, C categories.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.cascade import Cascade, CascadeScores
from models.evaluation import CategoryCounts, softmax

__all__ = ["MIN_ROWS", "CascadeRows", "choose_cascade"]

MIN_ROWS: Final = 50
"""Fewest rows held out with text and picture that a threshold is chosen on."""


@dataclass(frozen=True, slots=True, eq=False)
class CascadeRows:
    """R rows with text and picture, answered both ways.

    Attributes:
        confidence_R: float64, probability of the best category by the text alone.
        by_text_R: int64, that category's column.
        by_both_R: int64, column of the best category by both.
        truth_R: int64, column of the true one, -1 for one that the model does not have.
        num_categories: C.
    """

    confidence_R: NDArray[np.float64]
    by_text_R: NDArray[np.int64]
    by_both_R: NDArray[np.int64]
    truth_R: NDArray[np.int64]
    num_categories: int

    @classmethod
    def of_logits(
        cls, text_RC: NDArray[np.float32], both_RC: NDArray[np.float32], truth_R: NDArray[np.int64]
    ) -> Self:
        """Rows by their calibrated logits, all finite: of the text alone and of both."""
        return cls(
            confidence_R=softmax(text_RC).max(axis=1, initial=0).astype(np.float64),
            by_text_R=text_RC.argmax(axis=1),
            by_both_R=both_RC.argmax(axis=1),
            truth_R=truth_R,
            num_categories=text_RC.shape[1],
        )

    def scores(self, threshold: float) -> CascadeScores:
        """What a threshold does to the rows."""
        certain_R = self.confidence_R >= threshold
        answered_R = np.where(certain_R, self.by_text_R, self.by_both_R)
        return CascadeScores(
            rows=len(self.truth_R),
            skipped_share=float(certain_R.sum() / max(1, len(certain_R))),
            loss=self._weighted_f1(self.by_both_R) - self._weighted_f1(answered_R),
        )

    def too_low(self, max_loss: float) -> float:
        """The highest threshold that loses more than `max_loss`; -inf where every one is as good.

        Cost: O(R log R + D C) for D rows whose answer changes.
        """
        return next((confidence for confidence, loss in self._losses() if loss > max_loss), -np.inf)

    def _losses(self) -> Iterator[tuple[float, float]]:
        """Down the confidences at which an answer changes: each, and the loss when it is the threshold."""
        both = CategoryCounts.of(self.by_both_R, self.truth_R, self.num_categories)
        before = both.weighted_f1()
        predicted_C, correct_C = both.predicted_C.copy(), both.correct_C.copy()
        changed = np.flatnonzero(self.by_text_R != self.by_both_R)
        changed = changed[np.argsort(-self.confidence_R[changed], kind="stable")]
        ends = np.flatnonzero(np.diff(self.confidence_R[changed], append=-1.0)) + 1
        for rows in np.split(changed, ends)[:-1]:
            text, was, truth = self.by_text_R[rows], self.by_both_R[rows], self.truth_R[rows]
            np.add.at(predicted_C, text, 1)
            np.subtract.at(predicted_C, was, 1)
            np.add.at(correct_C, text[text == truth], 1)
            np.subtract.at(correct_C, was[was == truth], 1)
            after = CategoryCounts(both.true_C, predicted_C, correct_C, both.rows).weighted_f1()
            yield float(self.confidence_R[rows[0]]), before - after

    def _weighted_f1(self, answered_R: NDArray[np.int64]) -> float:
        return CategoryCounts.of(answered_R, self.truth_R, self.num_categories).weighted_f1()


def choose_cascade(held_out: CascadeRows, out_of_fold: CascadeRows, max_loss: float) -> Cascade:
    """The cascade that skips most pictures within a loss, as the top of this module says.

    Args:
        held_out: rows that no fit has seen, answered by the version as it is stored.
        out_of_fold: training rows, answered by fits that have not seen them; may be none.
        max_loss: of weighted F1, 0 or more.
    """
    num_rows = len(held_out.truth_R)
    if num_rows < MIN_ROWS:
        reason = f"{num_rows} rows held out have text and picture, at least {MIN_ROWS} are needed"
        return Cascade(max_loss=max_loss, threshold=None, reason=reason)
    too_low = max(rows.too_low(max_loss) for rows in (held_out, out_of_fold))
    allowed = held_out.confidence_R[held_out.confidence_R > too_low]
    if not len(allowed):
        reason = f"not even the surest text can do without its picture for {max_loss:g} of weighted F1"
        return Cascade(max_loss=max_loss, threshold=None, reason=reason)
    threshold = float(allowed.min())
    return Cascade(
        max_loss=max_loss,
        threshold=threshold,
        held_out=held_out.scores(threshold),
        out_of_fold=out_of_fold.scores(threshold),
    )
