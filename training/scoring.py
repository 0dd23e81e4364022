"""How good a fitted fusion is on the rows held out, as a whole and by its parts.

Shape letters: R rows held out, C categories.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.evaluation import Evaluation, evaluate, softmax
from models.fusion import Evidence, Fusion
from models.labels import LabelSet
from models.snapshot import Observed, Snapshot
from training.cascade import CascadeRows
from training.rows import TrainingRows

__all__ = ["HeldOutScores", "held_out_cascade_rows", "held_out_snapshot", "score_held_out"]


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Scores on rows that nothing was fitted on.

    Attributes:
        evaluation: of the fusion as it is stored.
        ece_before: calibration error of the plain sum of the evidence, before the fusion was fitted.
        text_alone: weighted F1 of the rows with text when their pictures are hidden; None without any.
        image_alone: weighted F1 of the rows with a picture when their texts are hidden; None without any.
    """

    evaluation: Evaluation
    ece_before: float
    text_alone: float | None
    image_alone: float | None

    def to_json(self) -> dict[str, Any]:
        """The evaluation's keys, and those of this class."""
        return self.evaluation.to_json() | {
            "ece_before_calibration": self.ece_before,
            "text_alone": self.text_alone,
            "image_alone": self.image_alone,
        }


@torch.inference_mode()
def score_held_out(fusion: Fusion, evidence: Evidence, truth_R: Tensor, labels: LabelSet) -> HeldOutScores:
    """Score evidence of the rows held out.

    Args:
        fusion: calibrated.
        evidence: of R rows.
        truth_R: int64, column of each row's category, -1 for one that the model does not have.
        labels: the C categories.
    """
    has_text_R, has_image_R = evidence.text_present_B, evidence.image_present_B
    absent_R = torch.zeros_like(has_text_R)
    plain = _evaluate(Fusion(len(labels)), evidence, truth_R, labels)
    return HeldOutScores(
        evaluation=_evaluate(fusion, evidence, truth_R, labels),
        ece_before=plain.ece,
        text_alone=_f1_of(fusion, evidence._replace(image_present_B=absent_R), has_text_R, truth_R, labels),
        image_alone=_f1_of(fusion, evidence._replace(text_present_B=absent_R), has_image_R, truth_R, labels),
    )


@torch.inference_mode()
def held_out_cascade_rows(fusion: Fusion, evidence: Evidence, truth_R: Tensor) -> CascadeRows:
    """The rows held out that a cascade may answer by their text alone; arguments as for `score_held_out`."""
    both_R = evidence.text_present_B & evidence.image_present_B
    by_both = Evidence(*(part[both_R] for part in evidence))
    by_text = by_both._replace(image_present_B=torch.zeros_like(by_both.image_present_B))
    return CascadeRows.of_logits(
        fusion.fuse(by_text).logits_BC.numpy(),
        fusion.fuse(by_both).logits_BC.numpy(),
        truth_R[both_R].numpy(),
    )


@torch.inference_mode()
def held_out_snapshot(fusion: Fusion, evidence: Evidence, rows: TrainingRows) -> Snapshot | None:
    """What the version assigns to the rows held out, as serving will be compared with it.

    Args:
        fusion: calibrated.
        evidence: of the rows held out; those with nothing to classify, which serving refuses, do not count.
        rows: all rows.
    """
    is_served_R = (evidence.text_present_B | evidence.image_present_B).numpy()
    served = [rows.rows[row] for row in rows.validation_rows[is_served_R]]
    observed = Observed.of(
        softmax(fusion.fuse(evidence).logits_BC.numpy())[is_served_R],
        ((row.title, row.description) for row in served),
        evidence.image_present_B.numpy()[is_served_R],
    )
    return Snapshot.of(observed, len(rows.labels))


def _evaluate(fusion: Fusion, evidence: Evidence, truth_R: Tensor, labels: LabelSet) -> Evaluation:
    return evaluate(
        softmax(fusion.fuse(evidence).logits_BC.numpy()),
        truth_R.numpy(),
        labels,
        text_present_B=evidence.text_present_B.numpy(),
        image_present_B=evidence.image_present_B.numpy(),
    )


def _f1_of(
    fusion: Fusion, evidence: Evidence, rows: Tensor, truth_R: Tensor, labels: LabelSet
) -> float | None:
    if not bool(rows.any()):
        return None
    shown = Evidence(*(part[rows] for part in evidence))
    return _evaluate(fusion, shown, truth_R[rows], labels).weighted_f1
