"""How much the rows of a run count."""

import numpy as np
import pytest

from training.stages import StageRows

TRUTH = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, -1])
WEIGHT = np.array([1, 1, 1, 1, 0.5, 0.5, 1, 1, 1, 1], np.float32)
ROWS = StageRows(TRUTH, WEIGHT, 4, ("",) * len(TRUTH))
EVERY = np.arange(len(TRUTH))


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balance_moves_weight_between_categories_and_adds_none(balance: float) -> None:
    balanced = ROWS.balanced_weight_N(EVERY, balance)
    known = TRUTH >= 0
    assert balanced[known].sum() == pytest.approx(WEIGHT[known].sum())
    totals = np.bincount(TRUTH[known], balanced[known])
    shares = np.bincount(TRUTH[known], WEIGHT[known]) ** (1 - balance)
    np.testing.assert_allclose(totals / totals.sum(), shares / shares.sum(), rtol=1e-6)
    assert balanced[4] / balanced[0] == pytest.approx(0.5)
    assert balanced.dtype == np.float32


def test_only_the_rows_learnt_from_are_counted() -> None:
    learn_from = np.array([0, 1, 6])
    balanced = ROWS.balanced_weight_N(learn_from, 1.0)
    assert balanced[learn_from].tolist() == pytest.approx([0.75, 0.75, 1.5])
    assert np.isfinite(balanced).all()


def test_rows_without_any_known_category_keep_their_weight() -> None:
    np.testing.assert_array_equal(ROWS.balanced_weight_N(np.array([9]), 1.0), WEIGHT)
