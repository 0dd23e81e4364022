"""What a run asks of each modality: encoders fitted on any of its rows, and their evidence.

Shape letters: N rows of the run, R some of them, C categories.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.rows import TrainingRows

__all__ = ["EncoderStage", "Fit", "StageRows"]

Encoder = TypeVar("Encoder")


@dataclass(frozen=True, slots=True, eq=False)
class StageRows:
    """What every stage knows of the N rows.

    Attributes:
        truth_N: int64, column of each row's category; -1 for one that the model does not have.
        weight_N: float32, how much each row counts in the loss.
        num_categories: C.
        titles: what people call the rows.
    """

    truth_N: NDArray[np.int64]
    weight_N: NDArray[np.float32]
    num_categories: int
    titles: tuple[str, ...]

    @classmethod
    def of(cls, rows: TrainingRows, *, pseudo_weight: float) -> "StageRows":
        """The rows of a catalogue; those whose category models gave count `pseudo_weight`."""
        return cls(
            truth_N=rows.truth_N,
            weight_N=np.where(rows.pseudo_N, pseudo_weight, 1.0).astype(np.float32),
            num_categories=len(rows.labels),
            titles=tuple(row.title for row in rows.rows),
        )

    def balanced_weight_N(self, learn_from: NDArray[np.int64], balance: float) -> NDArray[np.float32]:
        """How much each row counts when rare categories are to count for more.

        Args:
            learn_from: the rows to learn from; their categories are weighed against each other.
            balance: from 0, every row counts as it does, to 1, every category counts alike: a row of a
                category with the share p of all is multiplied by p^-balance.

        Returns:
            float32; over `learn_from` the sum stays what it was.
        """
        known = learn_from[self.truth_N[learn_from] >= 0]
        if not balance or not len(known):
            return self.weight_N
        total_C = np.bincount(self.truth_N[known], self.weight_N[known], self.num_categories)
        factor_C = np.maximum(total_C, np.finfo(np.float32).tiny) ** -balance
        factor_C *= total_C.sum() / (total_C * factor_C).sum()
        return (self.weight_N * np.where(total_C > 0, factor_C, 1.0)[self.truth_N]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One encoder to be fitted.

    Attributes:
        name: of the fit, unlike all others of the run: letters, digits and `-`.
        learn_from: the rows it learns from, rising.
        held_out: rows that it is scored on after each epoch; never learnt from.
    """

    name: str
    learn_from: NDArray[np.int64]
    held_out: NDArray[np.int64]


class EncoderStage(Protocol[Encoder]):
    """Everything that fits the encoder of one modality; what all fits share is computed once."""

    @property
    def present_N(self) -> NDArray[np.bool_]:
        """Whether each row has this modality, usable."""

    @property
    def broken(self) -> Mapping[str, int]:
        """Why and how many rows cannot be used although they have something."""

    def fit(self, fit: Fit) -> Encoder:
        """An encoder fitted on some rows; those without the modality are left aside."""

    def stored(self, encoder: Encoder) -> Any:
        """The text or image encoder of `models` that says what a fitted one says, to be stored and served."""

    def evidence(self, encoder: Encoder, rows: NDArray[np.int64]) -> Tensor:
        """evidence_RC, float32, of some rows; zeros where the modality is absent."""
