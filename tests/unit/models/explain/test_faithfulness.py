"""Measures of faithfulness know a right order from a wrong one."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from models.explain.faithfulness import SHARES, picture_faithfulness, text_faithfulness
from models.explain.words import split_words

TEXT = ("robot " + "mot " * 19, "")
WORDS = split_words(*TEXT, max_characters=1000).words


def says_robot(texts: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    return np.array([0.9 if "robot" in title else 0.1 for title, _ in texts])


def test_the_right_order_costs_everything_without_its_first_word_and_nothing_with_it_alone() -> None:
    values = np.zeros(20)
    values[0] = 1
    found = text_faithfulness(says_robot, TEXT, WORDS, values)
    assert found.comprehensiveness == pytest.approx((0.8,) * len(SHARES))
    assert found.sufficiency == pytest.approx((0.0,) * len(SHARES))


def test_a_wrong_order_costs_nothing_without_its_first_words() -> None:
    values = np.ones(20)
    values[0] = -1
    found = text_faithfulness(says_robot, TEXT, WORDS, values)
    assert found.comprehensiveness == pytest.approx((0.0,) * len(SHARES))
    assert found.sufficiency == pytest.approx((0.8,) * len(SHARES))


def test_one_word_is_kept_or_cut() -> None:
    found = text_faithfulness(says_robot, ("robot", ""), WORDS[:1], np.ones(1))
    assert found.comprehensiveness == pytest.approx((0.8,) * len(SHARES))


def contrast(pixels_NHWK: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much is going on in the top left quarter."""
    found_N: NDArray[np.float64] = pixels_NHWK[:, :16, :16].std(axis=(1, 2, 3)) / 128
    return found_N


def test_a_picture_is_deleted_and_inserted_in_the_order_of_its_values() -> None:
    pixels_HWK = np.full((32, 32, 3), 255, np.uint8)
    pixels_HWK[:16, :16] = (np.indices((16, 16)).sum(axis=0) % 2 * 255)[..., None]
    values_RQ = np.zeros((4, 4))
    values_RQ[:2, :2] = 1
    right = picture_faithfulness(contrast, pixels_HWK, values_RQ)
    wrong = picture_faithfulness(contrast, pixels_HWK, -values_RQ)
    assert right.insertion > wrong.insertion + 0.3
    assert right.deletion < wrong.deletion - 0.3
