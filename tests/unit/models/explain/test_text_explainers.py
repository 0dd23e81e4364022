"""Values of words are Shapley values: equal to those of all coalitions, whatever the text."""

import itertools
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.explain.base import TextExplainer
from models.explain.mean_bag import MeanBagExplainer, shapley_values_of_mean
from models.explain.ngram_bag import NgramBagExplainer
from models.explain.partition import PartitionTextExplainer
from models.explain.words import split_words
from models.text.base import TextEncoder
from models.text.embedding_bag import EmbeddingBagEncoder
from models.text.ngram_bag import NgramBag, fit_vocabulary
from tests.contracts.text_encoder import TEXTS
from tests.contracts.text_explainer import (
    TextExplainerContract,
    assert_words_apart,
    evidence_of,
    explained,
)
from tests.strategies import hostile_texts
from training.tokenizer_sources import load_tokenizer

NUM_CATEGORIES = 3
Coalition = frozenset[int]


@cache
def ngram_bag(folded: bool = True) -> NgramBag:
    vocabulary = fit_vocabulary(TEXTS, min_texts_of_word_ngram=1, min_texts_of_char_ngram=1)
    encoder = NgramBag(
        vocabulary, NUM_CATEGORIES, embedding_dim=8, generator=torch.Generator().manual_seed(1)
    )
    torch.nn.init.normal_(encoder.table, generator=torch.Generator().manual_seed(2))
    torch.nn.init.uniform_(encoder.bias_C, generator=torch.Generator().manual_seed(3))
    return encoder.fold().eval() if folded else encoder.eval()


@cache
def mean_bag() -> EmbeddingBagEncoder:
    torch.manual_seed(1)
    tokenizer = load_tokenizer("catalogue", TEXTS, vocabulary_size=120)
    encoder = EmbeddingBagEncoder(tokenizer, NUM_CATEGORIES, embedding_dim=8, max_tokens=400)
    torch.nn.init.normal_(encoder.table_VD)
    torch.nn.init.uniform_(encoder.bias_C)
    return encoder.eval()


class TestNgramBag(TextExplainerContract):
    def built(self) -> tuple[TextEncoder, TextExplainer]:
        return ngram_bag(), NgramBagExplainer(ngram_bag())


class TestMeanBag(TextExplainerContract):
    def built(self) -> tuple[TextEncoder, TextExplainer]:
        return mean_bag(), MeanBagExplainer(mean_bag())


class TestPartition(TextExplainerContract):
    def built(self) -> tuple[TextEncoder, TextExplainer]:
        return mean_bag(), PartitionTextExplainer(mean_bag())


@pytest.mark.parametrize("contract", [TestNgramBag, TestMeanBag, TestPartition])
@settings(max_examples=30)
@given(title=hostile_texts(), description=hostile_texts())
def test_hostile_texts_add_up_and_their_words_are_apart(
    contract: type[TextExplainerContract], title: str, description: str
) -> None:
    encoder, explainer = contract().built()
    (found,) = explained(explainer, [(title, description)], [0, 2])
    assert_words_apart(found, title, description)
    if found.words:
        expected_K = evidence_of(encoder, [(title, description)])[0, [0, 2]].numpy()
        np.testing.assert_allclose(found.base_K + found.values_WK.sum(axis=0), expected_K, rtol=0, atol=1e-4)


def brute_force(num_players: int, worth: Callable[[Coalition], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Shapley values by their definition, over all coalitions."""
    values = []
    for player in range(num_players):
        others = [other for other in range(num_players) if other != player]
        total = np.zeros_like(worth(frozenset()))
        for size in range(num_players):
            share = (
                math.factorial(size) * math.factorial(num_players - 1 - size) / math.factorial(num_players)
            )
            for members in itertools.combinations(others, size):
                coalition = frozenset(members)
                total += share * (worth(coalition | {player}) - worth(coalition))
        values.append(total)
    return np.array(values)


WORDS = [
    "robot",
    "piscine",
    "électrique",
    "&amp;",
    "d'angle",
    "a",
    "!",
    "日本語の",
    "<b>livre</b>",
    "anti-choc",
]


def ngram_worth(title: str, description: str) -> Callable[[Coalition], NDArray[np.float64]]:
    """What words are worth by the game that the explainer states, from the n-grams of the whole text."""
    encoder = ngram_bag()
    split = split_words(title, description, max_characters=encoder.max_characters)
    found = encoder.occurrences([split.text])
    word_L = np.concatenate([[-1], split.word_L, [-1]])
    owners = [
        {int(max(word_L[start], word_L[start + 1])) for start in places}
        for places in zip(found.starts_T, found.last_starts_T, strict=True)
    ]
    table = encoder.table.detach().double().numpy()
    parts = [
        (owner, weight * table[id_])
        for owner, weight, id_ in zip(owners, found.weights_T, found.ids_T, strict=True)
    ]

    def worth(coalition: Coalition) -> NDArray[np.float64]:
        return sum((part for owner, part in parts if owner <= coalition), np.zeros(NUM_CATEGORIES))

    return worth


@settings(max_examples=15)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=7), st.integers(0, 7))
def test_n_grams_are_shared_as_all_coalitions_say(words: list[str], cut: int) -> None:
    title, description = " ".join(words[:cut]), " ".join(words[cut:])
    (found,) = NgramBagExplainer(ngram_bag()).explain([(title, description)], np.arange(NUM_CATEGORIES))
    expected = brute_force(len(found.words), ngram_worth(title, description))
    np.testing.assert_allclose(found.values_WK, expected, rtol=0, atol=1e-6)


def test_ten_words_are_shared_as_all_coalitions_say() -> None:
    title = " ".join(WORDS)
    (found,) = NgramBagExplainer(ngram_bag()).explain([(title, "")], np.arange(NUM_CATEGORIES))
    assert len(found.words) == 10
    np.testing.assert_allclose(found.values_WK, brute_force(10, ngram_worth(title, "")), rtol=0, atol=1e-6)


def test_occurrences_are_the_features_place_by_place() -> None:
    encoder = ngram_bag()
    cleaned = [split_words(*text, max_characters=4096).text for text in TEXTS]
    found = encoder.occurrences(cleaned)
    features = encoder.featurize(TEXTS)
    text_T = np.searchsorted(np.cumsum([len(text) + 1 for text in cleaned]), found.starts_T, side="right")
    keys_T = text_T * len(encoder.table) + found.ids_T
    expected = (
        np.repeat(np.arange(len(TEXTS)), np.diff(features.offsets_B1)) * len(encoder.table) + features.ids_T
    )
    keys, place = np.unique(keys_T, return_inverse=True)
    np.testing.assert_array_equal(keys, expected)
    np.testing.assert_allclose(np.bincount(place, found.weights_T), features.weights_T, rtol=1e-6)


def test_an_encoder_that_is_not_folded_is_explained_the_same() -> None:
    columns = np.arange(NUM_CATEGORIES)
    for folded, plain in zip(
        NgramBagExplainer(ngram_bag()).explain(TEXTS, columns),
        NgramBagExplainer(ngram_bag(folded=False)).explain(TEXTS, columns),
        strict=True,
    ):
        np.testing.assert_allclose(plain.values_WK, folded.values_WK, rtol=0, atol=1e-4)


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=7),
    num_fixed=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_words_of_a_mean_are_shared_as_all_coalitions_say(
    counts: list[int], num_fixed: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    counts_W = np.array(counts)
    sums_WK = generator.normal(size=(len(counts), 2)) * (counts_W > 0)[:, None]
    fixed_K = generator.normal(size=2) * (num_fixed > 0)

    def worth(coalition: Coalition) -> NDArray[np.float64]:
        members = sorted(coalition)
        total: NDArray[np.float64] = fixed_K + sums_WK[members].sum(axis=0)
        total /= max(1, num_fixed + int(counts_W[members].sum()))
        return total

    values_WK, base_K = shapley_values_of_mean(sums_WK, counts_W, fixed_K=fixed_K, num_fixed=num_fixed)
    np.testing.assert_allclose(values_WK, brute_force(len(counts), worth), rtol=0, atol=1e-9)
    np.testing.assert_allclose(base_K, worth(frozenset()), rtol=0, atol=1e-12)


def test_a_long_mean_still_adds_up() -> None:
    generator = np.random.default_rng(1)
    counts_W = generator.integers(1, 6, 250)
    sums_WK = generator.normal(size=(250, 3))
    values_WK, base_K = shapley_values_of_mean(sums_WK, counts_W, fixed_K=np.ones(3), num_fixed=2)
    expected = (sums_WK.sum(axis=0) + 1) / (counts_W.sum() + 2)
    np.testing.assert_allclose(base_K + values_WK.sum(axis=0), expected, rtol=0, atol=1e-9)


def test_with_enough_evaluations_two_words_are_shared_exactly() -> None:
    encoder = mean_bag()
    texts = [("Robot piscine", "")]
    (exact,) = MeanBagExplainer(encoder).explain(texts, np.arange(NUM_CATEGORIES))
    (owen,) = PartitionTextExplainer(encoder).explain(texts, np.arange(NUM_CATEGORIES), 100)
    # Without any word there is no text, which has no bias either: both words share it.
    bias_K = encoder.bias_C.detach().double().numpy()
    np.testing.assert_allclose(owen.values_WK, exact.values_WK + bias_K / 2, rtol=0, atol=1e-5)
    assert 0 < owen.num_evaluations <= 100


@pytest.mark.parametrize("kind", [NgramBagExplainer, MeanBagExplainer])
def test_a_hundred_kilobytes_are_explained_as_far_as_they_are_read(kind: type[TextExplainer]) -> None:
    explainer = kind(ngram_bag() if kind is NgramBagExplainer else mean_bag())  # type: ignore[call-arg]
    (found,) = explainer.explain([("robot " * 17_000, "<p>" * 40_000)], np.array([0]), 0)
    assert len(found.words) == 683
    assert found.words[-1].end <= 4096
