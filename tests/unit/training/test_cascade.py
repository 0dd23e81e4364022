"""The threshold of a cascade is the lowest that keeps its promise, on rows held out and out of fold."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.cascade import CascadeScores
from models.errors import ModelError
from models.evaluation import evaluate
from models.fusion import Evidence, Fusion
from models.labels import LabelSet
from training.cascade import MIN_ROWS, CascadeRows, choose_cascade
from training.scoring import held_out_cascade_rows
from training.stacking import FusionSettings, OutOfFold

NUM_CATEGORIES = 4
LABELS = LabelSet.from_codes(range(NUM_CATEGORIES))
NO_ROWS = CascadeRows.of_logits(
    np.zeros((0, NUM_CATEGORIES), np.float32),
    np.zeros((0, NUM_CATEGORIES), np.float32),
    np.zeros(0, np.int64),
)


def cascade_rows(num_rows: int) -> st.SearchStrategy[CascadeRows]:
    columns = st.integers(0, NUM_CATEGORIES - 1)
    return st.builds(
        CascadeRows,
        # Few values, so that rows tie.
        confidence_R=arrays(np.float64, num_rows, elements=st.sampled_from([0.25, 0.5, 0.6, 0.7, 0.9, 1.0])),
        by_text_R=arrays(np.int64, num_rows, elements=columns),
        by_both_R=arrays(np.int64, num_rows, elements=columns),
        truth_R=arrays(np.int64, num_rows, elements=st.integers(-1, NUM_CATEGORIES - 1)),
        num_categories=st.just(NUM_CATEGORIES),
    )


def loss_by_the_book(rows: CascadeRows, threshold: float) -> float:
    """From the probabilities of a classifier that answers as the cascade does."""
    scores = []
    for certain_R in (np.zeros(len(rows.truth_R), np.bool_), rows.confidence_R >= threshold):
        answered_R = np.where(certain_R, rows.by_text_R, rows.by_both_R)
        sure_RC = np.eye(NUM_CATEGORIES, dtype=np.float32)[answered_R]
        scores.append(evaluate(sure_RC, rows.truth_R, LABELS).weighted_f1)
    return scores[0] - scores[1]


def rows(*answers: tuple[float, int, int, int]) -> CascadeRows:
    """Rows of confidence, category by text, category by both, and truth."""
    by_text_R, by_both_R, truth_R = (np.array([each[place] for each in answers]) for place in (1, 2, 3))
    return CascadeRows(np.array([each[0] for each in answers]), by_text_R, by_both_R, truth_R, NUM_CATEGORIES)


def agreed(confidence: float, num: int) -> list[tuple[float, int, int, int]]:
    return [
        (confidence, row % NUM_CATEGORIES, row % NUM_CATEGORIES, row % NUM_CATEGORIES) for row in range(num)
    ]


@given(cascade_rows(MIN_ROWS + 10), st.sampled_from([0.0, 0.002, 0.05, 0.3]))
def test_the_threshold_is_the_lowest_so_that_it_and_all_above_it_lose_little_enough(
    held_out: CascadeRows, max_loss: float
) -> None:
    confidences = np.unique(held_out.confidence_R)
    kept = [
        t
        for t in confidences
        if all(loss_by_the_book(held_out, u) <= max_loss for u in confidences if u >= t)
    ]
    chosen = choose_cascade(held_out, NO_ROWS, max_loss)
    assert chosen.threshold == (min(kept) if kept else None)
    assert (chosen.reason is None) == bool(kept)


@given(cascade_rows(MIN_ROWS), cascade_rows(MIN_ROWS), st.sampled_from([0.0, 0.002, 0.05, 0.3]))
def test_a_threshold_keeps_the_promise_on_both_sets_of_rows(
    held_out: CascadeRows, out_of_fold: CascadeRows, max_loss: float
) -> None:
    chosen = choose_cascade(held_out, out_of_fold, max_loss)
    assert chosen.max_loss == max_loss
    if chosen.threshold is None:
        assert chosen.held_out is chosen.out_of_fold is None
        return
    for rows_of_set, scores in ((held_out, chosen.held_out), (out_of_fold, chosen.out_of_fold)):
        assert scores is not None
        assert scores.loss <= max_loss
        assert scores.loss == pytest.approx(loss_by_the_book(rows_of_set, chosen.threshold))
        assert scores.skipped_share == (rows_of_set.confidence_R >= chosen.threshold).mean()
    assert chosen.held_out is not None
    assert chosen.held_out.skipped_share > 0


def test_a_text_that_is_surely_wrong_where_both_are_right_keeps_the_threshold_above_it() -> None:
    held_out = rows(*agreed(0.9, 40), (0.8, 1, 0, 0), *agreed(0.7, 40))
    chosen = choose_cascade(held_out, NO_ROWS, 0.002)
    assert chosen.threshold == 0.9
    assert chosen.held_out == CascadeScores(rows=81, skipped_share=40 / 81, loss=0.0)


def test_where_the_picture_never_matters_every_one_is_skipped() -> None:
    chosen = choose_cascade(rows(*agreed(0.9, 40), *agreed(0.3, 40)), NO_ROWS, 0.0)
    assert (chosen.threshold, chosen.held_out) == (0.3, CascadeScores(rows=80, skipped_share=1.0, loss=0.0))


def test_rows_of_one_confidence_are_skipped_together_or_not_at_all() -> None:
    held_out = rows(*agreed(0.9, 40), *agreed(0.8, 40), (0.8, 1, 0, 0))
    assert choose_cascade(held_out, NO_ROWS, 0.002).threshold == 0.9


def test_a_lucky_row_further_down_does_not_pay_for_an_unlucky_one() -> None:
    held_out = rows(*agreed(0.9, 40), (0.8, 1, 0, 0), (0.7, 0, 1, 0), *agreed(0.6, 40))
    assert held_out.scores(0.6).loss == pytest.approx(0)
    assert choose_cascade(held_out, NO_ROWS, 0.002).threshold == 0.9


def test_rows_out_of_fold_have_to_agree() -> None:
    held_out = rows(*agreed(0.9, 40), *agreed(0.6, 40))
    out_of_fold = rows(*agreed(0.9, 40), (0.7, 1, 0, 0))
    assert choose_cascade(held_out, NO_ROWS, 0.002).threshold == 0.6
    assert choose_cascade(held_out, out_of_fold, 0.002).threshold == 0.9


def test_a_larger_loss_lets_more_pictures_go() -> None:
    held_out = rows(*agreed(0.9, 40), (0.8, 1, 0, 0), *agreed(0.7, 40))
    assert choose_cascade(held_out, NO_ROWS, 0.02).threshold == 0.7


@pytest.mark.parametrize(
    ("held_out", "reason"),
    [
        (rows(*agreed(0.9, MIN_ROWS - 1)), "49 rows held out have text and picture, at least 50 are needed"),
        (NO_ROWS, "0 rows held out have"),
        (rows((0.99, 1, 0, 0), *agreed(0.9, MIN_ROWS)), "not even the surest text"),
    ],
    ids=["few rows", "no rows", "sure and wrong"],
)
def test_without_a_threshold_there_is_a_reason(held_out: CascadeRows, reason: str) -> None:
    chosen = choose_cascade(held_out, NO_ROWS, 0.002)
    assert chosen.threshold is None
    assert reason in str(chosen)


def test_both_sets_are_rows_with_text_and_picture_answered_both_ways() -> None:
    """By the fusion of the stored version, and by fusions that have not seen the fold."""
    generator = torch.Generator().manual_seed(1)
    num = 900
    truth_F = torch.arange(num) % NUM_CATEGORIES
    signal_FC = torch.nn.functional.one_hot(truth_F, NUM_CATEGORIES).float() * 3
    text_FC, image_FC = (signal_FC + torch.randn(num, NUM_CATEGORIES, generator=generator) for _ in range(2))
    has_text_F, has_image_F = torch.arange(num) % 3 != 0, torch.arange(num) % 2 == 0
    evidence = Evidence(text_FC, image_FC, has_text_F, has_image_F)
    both_F = has_text_F & has_image_F
    out_of_fold = OutOfFold(evidence, truth_F, np.arange(num) // 3 % 3, LABELS)
    fusion = Fusion(NUM_CATEGORIES)
    fusion.calibrate(out_of_fold.fit(FusionSettings()))
    text_alone = evidence._replace(image_present_B=torch.zeros_like(has_image_F))
    sure_F = torch.softmax(fusion.fuse(text_alone).logits_BC, dim=1).amax(dim=1)
    held_out = held_out_cascade_rows(fusion, evidence, truth_F)
    asked = out_of_fold.answers(FusionSettings()).cascade_rows()
    np.testing.assert_allclose(held_out.confidence_R, sure_F[both_F].double(), atol=1e-6)
    assert np.abs(asked.confidence_R - held_out.confidence_R).mean() < 0.05
    assert not np.array_equal(asked.confidence_R, held_out.confidence_R)
    for each in (held_out, asked):
        assert each.truth_R.tolist() == truth_F[both_F].tolist()
        assert (each.by_both_R == each.truth_R).mean() > (each.by_text_R == each.truth_R).mean()


@pytest.mark.parametrize("loss", [-0.001, 1.0, float("nan")])
def test_a_loss_that_is_none_is_refused(loss: float) -> None:
    with pytest.raises(ModelError, match=r"fusion\.cascade_loss is"):
        FusionSettings(cascade_loss=loss)
