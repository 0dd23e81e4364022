"""The contract must fail on text explainers that are wrong, or it proves nothing of one that passes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.explain.base import TextAttributions
from models.explain.ngram_bag import NgramBagExplainer
from tests.contracts.text_explainer import TextExplainerContract, assert_words_apart
from tests.unit.models.explain.test_text_explainers import ngram_bag

Texts = Sequence[tuple[str, str]]


class ForgetsTheBias(NgramBagExplainer):
    def explain(
        self, texts: Texts, columns_K: NDArray[np.int64], max_evaluations: int = 0
    ) -> list[TextAttributions]:
        found = super().explain(texts, columns_K, max_evaluations)
        return [replace(each, base_K=np.zeros_like(each.base_K)) for each in found]


class SharesWithTheBatch(NgramBagExplainer):
    def explain(
        self, texts: Texts, columns_K: NDArray[np.int64], max_evaluations: int = 0
    ) -> list[TextAttributions]:
        found = super().explain(texts, columns_K, max_evaluations)
        return [replace(each, values_WK=each.values_WK / len(found)) for each in found]


class TakesTheFirstCategories(NgramBagExplainer):
    def explain(
        self, texts: Texts, columns_K: NDArray[np.int64], max_evaluations: int = 0
    ) -> list[TextAttributions]:
        return super().explain(texts, np.arange(len(columns_K)), max_evaluations)


class LeavesOutTheLastCharacter(NgramBagExplainer):
    def explain(
        self, texts: Texts, columns_K: NDArray[np.int64], max_evaluations: int = 0
    ) -> list[TextAttributions]:
        found = super().explain(texts, columns_K, max_evaluations)
        return [
            replace(each, words=tuple(replace(word, end=word.end - 1) for word in each.words))
            for each in found
        ]


CASES = TextExplainerContract


@pytest.mark.parametrize(
    ("wrong", "case", "arguments"),
    [
        (ForgetsTheBias, CASES.test_base_and_values_add_up_to_the_evidence, ["encoder", "explainer"]),
        (SharesWithTheBatch, CASES.test_a_text_is_explained_the_same_alone_and_in_any_batch, ["explainer"]),
        (
            TakesTheFirstCategories,
            CASES.test_a_category_is_explained_the_same_whatever_else_is_asked,
            ["explainer"],
        ),
        (LeavesOutTheLastCharacter, CASES.test_one_word_gets_everything, ["encoder", "explainer", "text"]),
    ],
)
def test_a_wrong_explainer_fails(
    wrong: type[NgramBagExplainer], case: Callable[..., None], arguments: list[str]
) -> None:
    def given(kind: type[NgramBagExplainer]) -> dict[str, Any]:
        every = {"encoder": ngram_bag(), "explainer": kind(ngram_bag()), "text": "robot"}
        return {name: every[name] for name in arguments}

    case(TextExplainerContract(), **given(NgramBagExplainer))
    with pytest.raises(AssertionError):
        case(TextExplainerContract(), **given(wrong))


def test_words_that_reach_into_one_another_are_found() -> None:
    (found,) = NgramBagExplainer(ngram_bag()).explain([("robot piscine", "")], np.array([0]))
    assert_words_apart(found, "robot piscine", "")
    first, second = found.words
    with pytest.raises(AssertionError):
        assert_words_apart(replace(found, words=(first, replace(second, start=3))), "robot piscine", "")
