"""What every text explainer keeps to, whatever encoder it explains."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from models.explain.base import TextAttributions, TextExplainer
from models.text.base import TextEncoder
from tests.contracts.text_encoder import TEXTS, evidence

TOLERANCE = 1e-4
"""Of evidence computed in float32."""
MAX_EVALUATIONS = 40


def explained(
    explainer: TextExplainer, texts: list[tuple[str, str]], columns: list[int]
) -> list[TextAttributions]:
    return explainer.explain(texts, np.array(columns), MAX_EVALUATIONS)


def evidence_of(encoder: TextEncoder, texts: list[tuple[str, str]]) -> torch.Tensor:
    return evidence(encoder, encoder.featurize(texts)).double()


def assert_words_apart(found: TextAttributions, title: str, description: str) -> None:
    """Words lie in their fields, in order, and none reaches into the next."""
    fields = {"title": title, "description": description}
    assert sorted(found.words, key=lambda word: (word.field != "title", word.start)) == list(found.words)
    for word in found.words:
        assert 0 <= word.start < word.end <= len(fields[word.field])
    for first, second in pairwise(found.words):
        assert first.field != second.field or first.end <= second.start


class TextExplainerContract:
    """A subclass says what is `built`."""

    def built(self) -> tuple[TextEncoder, TextExplainer]:
        """An encoder of 3 categories or more, and what explains it."""
        raise NotImplementedError

    @pytest.fixture
    def encoder(self) -> TextEncoder:
        return self.built()[0]

    @pytest.fixture
    def explainer(self) -> TextExplainer:
        return self.built()[1]

    def test_base_and_values_add_up_to_the_evidence(
        self, encoder: TextEncoder, explainer: TextExplainer
    ) -> None:
        columns = list(range(encoder.num_categories))
        found = explained(explainer, TEXTS, columns)
        assert len(found) == len(TEXTS)
        for each, expected_C in zip(found, evidence_of(encoder, TEXTS), strict=True):
            assert each.values_WK.shape == (len(each.words), len(columns))
            if each.words:
                total_K = each.base_K + each.values_WK.sum(axis=0)
                np.testing.assert_allclose(total_K, expected_C.numpy(), rtol=0, atol=TOLERANCE)

    def test_a_text_is_explained_the_same_alone_and_in_any_batch(self, explainer: TextExplainer) -> None:
        together = explained(explainer, TEXTS, [0, 1, 2])
        for text, each in zip(TEXTS, together, strict=True):
            (alone,) = explained(explainer, [text], [0, 1, 2])
            assert alone.words == each.words
            np.testing.assert_allclose(alone.values_WK, each.values_WK, rtol=0, atol=TOLERANCE)

    def test_a_category_is_explained_the_same_whatever_else_is_asked(self, explainer: TextExplainer) -> None:
        text = [("Robot piscine", "")]
        (all_three,) = explained(explainer, text, [0, 1, 2])
        (swapped,) = explained(explainer, text, [2, 0])
        np.testing.assert_allclose(swapped.values_WK, all_three.values_WK[:, [2, 0]], rtol=0, atol=TOLERANCE)

    @pytest.mark.parametrize("text", [("", ""), ("<br/>", " \u200b "), ("&nbsp;", "\n")])
    def test_a_text_without_words_has_no_values(
        self, explainer: TextExplainer, text: tuple[str, str]
    ) -> None:
        (found,) = explained(explainer, [text], [0])
        assert found.words == ()
        assert found.values_WK.shape == (0, 1)

    @pytest.mark.parametrize("text", ["a", "x" * 1000, "🎲", "!"])
    def test_one_word_gets_everything(
        self, encoder: TextEncoder, explainer: TextExplainer, text: str
    ) -> None:
        (found,) = explained(explainer, [(text, "")], [0])
        (word,) = found.words
        assert (word.start, word.end) == (0, len(text))
        expected = evidence_of(encoder, [(text, "")])[0, 0] - found.base_K[0]
        assert float(found.values_WK[0, 0]) == pytest.approx(float(expected), abs=TOLERANCE)

    def test_no_texts_have_no_explanations(self, explainer: TextExplainer) -> None:
        assert explained(explainer, [], [0]) == []
