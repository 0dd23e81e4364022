"""The fusion, fitted on evidence of encoders that never saw the row, and how much it is worth.

Every training row is scored by encoders fitted without its fold, near duplicates of a fold being together
(stacking; Wolpert 1992, "Stacked generalization"). Shape letters: N rows, F rows with a known truth, C
categories.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ModelError
from models.evaluation import evaluate, softmax
from models.fusion import Evidence, Fusion, FusionCalibration, FusionNetwork
from models.labels import LabelSet
from training.calibration import fit_fusion
from training.cascade import CascadeRows
from training.rows import TrainingRows
from training.stages import EncoderStage, Fit

__all__ = ["FusionSettings", "OutOfFold", "OutOfFoldAnswers", "Stages"]


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """How the fusion is fitted.

    Attributes:
        num_folds: parts that the training rows are cut into; each costs a fit of every encoder.
        l2: strength of the pull of weights towards 1, the plain sum of what each modality says.
        cascade_loss: weighted F1 that a product with a picture may lose where it is answered by its text
            alone; the threshold of the cascade is chosen for it.

    Raises:
        ModelError: the loss is below 0, or not below 1.
    """

    num_folds: int = 3
    l2: float = 5.0
    cascade_loss: float = 0.002

    def __post_init__(self) -> None:
        if not 0 <= self.cascade_loss < 1:
            raise ModelError(f"fusion.cascade_loss is {self.cascade_loss}, it must be 0 or more, and below 1")


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """The modalities of a run; one of them may be missing."""

    rows: TrainingRows
    text: EncoderStage[Any] | None
    image: EncoderStage[Any] | None

    def fit(self) -> tuple[Any, Any]:
        """The encoders that are stored: fitted on all training rows, scored on those held out."""
        rows = self.rows
        return self._fit_each("", rows.train_rows, rows.validation_rows)

    def network(self, encoders: tuple[Any, Any]) -> FusionNetwork:
        """The network that is stored, of fitted encoders; its fusion is a plain sum yet."""
        text, image = (
            None if stage is None or encoder is None else stage.stored(encoder)
            for stage, encoder in zip((self.text, self.image), encoders, strict=True)
        )
        return FusionNetwork(text, image, len(self.rows.labels)).eval()

    def evidence(self, encoders: tuple[Any, Any], rows_R: NDArray[np.int64]) -> Evidence:
        """What fitted encoders say of some rows."""
        parts = [
            self._evidence_of(stage, encoder, rows_R)
            for stage, encoder in zip((self.text, self.image), encoders, strict=True)
        ]
        (text_RC, has_text_R), (image_RC, has_image_R) = parts
        return Evidence(text_RC, image_RC, has_text_R, has_image_R)

    def out_of_fold(self, num_folds: int, seed: int) -> "OutOfFold":
        """Evidence for each labelled training row; costs `num_folds` fits of every encoder."""
        rows = self.rows
        fitted = np.flatnonzero(~rows.validation_N & ~rows.pseudo_N)
        fold_N = np.random.default_rng(seed).permutation(int(rows.groups_N.max()) + 1)[rows.groups_N]
        fold_N %= num_folds
        parts, places = [], []
        for fold in range(num_folds):
            held_out = fitted[fold_N[fitted] == fold]
            learn_from = rows.train_rows[fold_N[rows.train_rows] != fold]
            encoders = self._fit_each(f"-fold-{fold + 1}", learn_from, held_out)
            parts.append(self.evidence(encoders, held_out))
            places.append(held_out)
        order = np.argsort(np.concatenate(places), kind="stable")
        evidence = Evidence(*(torch.cat(each)[torch.from_numpy(order)] for each in zip(*parts, strict=True)))
        return OutOfFold(evidence, torch.from_numpy(rows.truth_N[fitted]), fold_N[fitted], rows.labels)

    def _fit_each(
        self, suffix: str, learn_from: NDArray[np.int64], held_out: NDArray[np.int64]
    ) -> tuple[Any, Any]:
        text = None if self.text is None else self.text.fit(Fit(f"text{suffix}", learn_from, held_out))
        image = None
        if self.image is not None and self.image.present_N[learn_from].sum() > 1:
            image = self.image.fit(Fit(f"image{suffix}", learn_from, held_out))
        return text, image

    def _evidence_of(
        self, stage: EncoderStage[Any] | None, encoder: Any, rows_R: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        if stage is None or encoder is None:
            return (
                torch.zeros(len(rows_R), len(self.rows.labels)),
                torch.zeros(len(rows_R), dtype=torch.bool),
            )
        return stage.evidence(encoder, rows_R), torch.from_numpy(stage.present_N[rows_R])


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Evidence of F labelled training rows from encoders that never saw them.

    Attributes:
        evidence: of the F rows.
        truth_F: int64, column of each row's category.
        fold_F: int64, the fold each row belongs to.
        labels: the C categories.
    """

    evidence: Evidence
    truth_F: Tensor
    fold_F: NDArray[np.int64]
    labels: LabelSet

    def fit(self, settings: FusionSettings) -> FusionCalibration:
        """The fusion of all F rows."""
        return self._fit(torch.ones(len(self.truth_F), dtype=torch.bool), settings)

    def answers(self, settings: FusionSettings) -> "OutOfFoldAnswers":
        """What fusions say that did not learn from a row either: fitted once more without each fold."""
        num_rows = len(self.truth_F)
        fusion_FC, text_FC, image_FC = (torch.zeros(num_rows, len(self.labels)) for _ in range(3))
        for of_fold, fusion in self._without_each_fold(settings):
            views = _views(_rows_of(self.evidence, of_fold))
            for view, logits_FC in zip(views, (fusion_FC, text_FC, image_FC), strict=True):
                logits_FC[of_fold] = fusion.fuse(view).logits_BC
        return OutOfFoldAnswers(self, fusion_FC, text_FC, image_FC)

    def _without_each_fold(self, settings: FusionSettings) -> Iterator[tuple[Tensor, Fusion]]:
        for fold in np.unique(self.fold_F):
            of_fold = torch.from_numpy(self.fold_F == fold)
            if bool(of_fold.all()):
                continue
            fusion = Fusion(len(self.labels))
            fusion.calibrate(self._fit(~of_fold, settings))
            yield of_fold, fusion

    def _fit(self, rows_F: Tensor, settings: FusionSettings) -> FusionCalibration:
        return fit_fusion(
            _rows_of(self.evidence, rows_F),
            self.truth_F[rows_F],
            torch.ones(int(rows_F.sum())),
            l2=settings.l2,
        )


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFoldAnswers:
    """Calibrated logits of F training rows from encoders and fusions that never saw them, float32 (F, C).

    Attributes:
        rows: the rows.
        fusion_FC: by whatever each has.
        text_FC: with the picture hidden.
        image_FC: with the text hidden.
    """

    rows: OutOfFold
    fusion_FC: Tensor
    text_FC: Tensor
    image_FC: Tensor

    def scores(self) -> dict[str, Any]:
        """What each modality and the fusion are worth.

        Returns:
            JSON: `rows` with both modalities and the weighted F1 of the `fusion`, `text_alone` and
            `image_alone` on them; `text_rows` and `image_rows` with either, and `text` and `image`, the
            weighted F1 on those when the other modality is hidden.
        """
        has_text_F, has_image_F = self.rows.evidence.text_present_B, self.rows.evidence.image_present_B
        both_F = has_text_F & has_image_F
        return {
            "rows": int(both_F.sum()),
            "fusion": self._weighted_f1(self.fusion_FC, both_F),
            "text_alone": self._weighted_f1(self.text_FC, both_F),
            "image_alone": self._weighted_f1(self.image_FC, both_F),
            "text_rows": int(has_text_F.sum()),
            "text": self._weighted_f1(self.text_FC, has_text_F),
            "image_rows": int(has_image_F.sum()),
            "image": self._weighted_f1(self.image_FC, has_image_F),
        }

    def cascade_rows(self) -> CascadeRows:
        """The rows that a cascade may answer by their text alone."""
        evidence = self.rows.evidence
        both_F = evidence.text_present_B & evidence.image_present_B
        return CascadeRows.of_logits(
            self.text_FC[both_F].numpy(), self.fusion_FC[both_F].numpy(), self.rows.truth_F[both_F].numpy()
        )

    def _weighted_f1(self, logits_FC: Tensor, rows_F: Tensor) -> float | None:
        if not bool(rows_F.any()):
            return None
        probabilities_RC = softmax(logits_FC[rows_F].numpy())
        return evaluate(probabilities_RC, self.rows.truth_F[rows_F].numpy(), self.rows.labels).weighted_f1


def _rows_of(evidence: Evidence, rows: Tensor) -> Evidence:
    return Evidence(*(part[rows] for part in evidence))


def _views(evidence: Evidence) -> tuple[Evidence, Evidence, Evidence]:
    """The same rows with both modalities, with their text alone and with their picture alone."""
    absent = torch.zeros_like(evidence.text_present_B)
    return (
        evidence,
        evidence._replace(image_present_B=absent),
        evidence._replace(text_present_B=absent),
    )
