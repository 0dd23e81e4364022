"""The fusion learns from encoders that never saw the row, and is measured on rows it never saw."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.fusion import Evidence, Fusion
from models.labels import LabelSet
from schemas.catalogue_rows import CatalogueRow
from training.rows import TrainingRows
from training.scoring import score_held_out
from training.stacking import FusionSettings, OutOfFold, Stages
from training.stages import Fit

NUM_ROWS, NUM_CATEGORIES = 120, 3
LABELS = LabelSet.from_codes(range(NUM_CATEGORIES))
TRUTH_N = np.arange(NUM_ROWS) % NUM_CATEGORIES
VALIDATION_N = np.arange(NUM_ROWS) >= 100
PSEUDO_N = (np.arange(NUM_ROWS) >= 80) & ~VALIDATION_N
GROUPS_N = np.arange(NUM_ROWS) // 2


def rows() -> TrainingRows:
    products = tuple(CatalogueRow(str(number), f"product {number}", "") for number in range(NUM_ROWS))
    return TrainingRows(products, LABELS, TRUTH_N, VALIDATION_N, PSEUDO_N, GROUPS_N, left_out={}, root=Path())


class Memory:
    """An encoder that knows the truth of exactly the rows it learnt from, and notes what it was asked."""

    def __init__(self, present_N: NDArray[np.bool_] | None = None) -> None:
        self.present_N = np.ones(NUM_ROWS, np.bool_) if present_N is None else present_N
        self.broken: Mapping[str, int] = {}
        self.fits: list[Fit] = []

    def fit(self, fit: Fit) -> set[int]:
        self.fits.append(fit)
        return set(fit.learn_from.tolist())

    def stored(self, encoder: set[int]) -> set[int]:
        return encoder

    def evidence(self, encoder: set[int], asked: NDArray[np.int64]) -> Tensor:
        evidence_RC = torch.zeros(len(asked), NUM_CATEGORIES)
        for place, row in enumerate(asked.tolist()):
            evidence_RC[place, 0] = row
            if row in encoder:
                evidence_RC[place] = 1e6
        return evidence_RC


def test_evidence_comes_from_encoders_that_never_saw_the_row_or_its_near_duplicates() -> None:
    text, image = Memory(), Memory(np.arange(NUM_ROWS) % 4 == 0)
    stages = Stages(rows(), text, image)
    out_of_fold = stages.out_of_fold(num_folds=4, seed=1)
    assert out_of_fold.evidence.text_BC.max() < 1e6
    # Rows are in their order, and only those that people have labelled.
    assert out_of_fold.evidence.text_BC[:, 0].tolist() == list(range(80))
    assert out_of_fold.truth_F.tolist() == TRUTH_N[:80].tolist()
    assert out_of_fold.evidence.image_present_B.tolist() == [row % 4 == 0 for row in range(80)]
    for fit in (*text.fits, *image.fits):
        assert not set(GROUPS_N[fit.learn_from]) & set(GROUPS_N[fit.held_out])
        assert not VALIDATION_N[fit.learn_from].any()
    assert [fit.name for fit in text.fits] == [f"text-fold-{number}" for number in (1, 2, 3, 4)]
    learnt_from = np.concatenate([fit.learn_from for fit in text.fits])
    assert PSEUDO_N[learnt_from].sum() == 3 * PSEUDO_N.sum()


def test_the_stored_encoders_learn_from_every_training_row_and_are_watched_on_those_held_out() -> None:
    text = Memory()
    Stages(rows(), text, None).fit()
    (fit,) = text.fits
    assert fit.learn_from.tolist() == np.flatnonzero(~VALIDATION_N).tolist()
    assert fit.held_out.tolist() == np.flatnonzero(VALIDATION_N).tolist()


def test_without_pictures_no_image_encoder_is_fitted() -> None:
    image = Memory(np.zeros(NUM_ROWS, np.bool_))
    stages = Stages(rows(), Memory(), image)
    encoders = stages.fit()
    assert encoders[1] is None
    evidence = stages.evidence(encoders, np.arange(4))
    assert not evidence.image_present_B.any()
    assert not image.fits


def out_of_fold(image_tells: bool) -> OutOfFold:
    generator = torch.Generator().manual_seed(1)
    num = 1500
    truth_F = torch.arange(num) % NUM_CATEGORIES
    signal_FC = torch.nn.functional.one_hot(truth_F, NUM_CATEGORIES).float()
    text_FC = signal_FC + torch.randn(num, NUM_CATEGORIES, generator=generator)
    image_FC = signal_FC * image_tells + torch.randn(num, NUM_CATEGORIES, generator=generator)
    has_image_F = torch.arange(num) % 2 == 0
    evidence = Evidence(text_FC, image_FC, torch.ones(num, dtype=torch.bool), has_image_F)
    return OutOfFold(evidence, truth_F, np.arange(num) // 3 % 3, LABELS)


def test_a_picture_that_tells_lifts_the_fusion_above_the_text() -> None:
    scores = out_of_fold(image_tells=True).answers(FusionSettings()).scores()
    assert (scores["rows"], scores["text_rows"], scores["image_rows"]) == (750, 1500, 750)
    assert scores["fusion"] > scores["text_alone"] + 0.05
    assert scores["fusion"] > scores["image_alone"] + 0.05


def test_a_picture_that_tells_nothing_costs_nothing() -> None:
    scores = out_of_fold(image_tells=False).answers(FusionSettings()).scores()
    assert scores["fusion"] > scores["text_alone"] - 0.02
    assert scores["image_alone"] < 0.45


@pytest.mark.parametrize("image_tells", [True, False])
def test_scores_of_rows_held_out_are_those_of_the_fusion_and_its_parts(image_tells: bool) -> None:
    fitted = out_of_fold(image_tells)
    fusion = Fusion(NUM_CATEGORIES)
    fusion.calibrate(fitted.fit(FusionSettings()))
    scores = score_held_out(fusion, fitted.evidence, fitted.truth_F, LABELS)
    assert scores.evaluation.rows == 1500
    assert scores.evaluation.ece < scores.ece_before
    assert scores.text_alone is not None
    assert scores.image_alone is not None
    document = scores.to_json()
    assert document["ece_before_calibration"] == scores.ece_before
    assert document["text_alone"] == scores.text_alone
