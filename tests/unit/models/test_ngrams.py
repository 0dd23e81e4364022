import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from models.errors import BundleError
from models.text.cleaning import clean
from models.text.ngram_vocabulary import (
    UNKNOWN,
    NgramLookup,
    NgramVocabulary,
    chunks_by_length,
    learn_vocabulary,
)
from models.text.ngrams import Block, extract_ngrams

ALL = {Block.WORDS: 1, Block.CHARACTERS: 1}
# Another implementation of the same n-grams, slow and well tried.
ORACLES = {
    Block.WORDS: CountVectorizer(lowercase=False, ngram_range=(1, 2), token_pattern=r"\b\w+\b"),  # noqa: S106
    Block.CHARACTERS: CountVectorizer(lowercase=False, analyzer="char_wb", ngram_range=(2, 6)),
}


def cleaned_texts() -> st.SearchStrategy[list[str]]:
    words = st.text(st.sampled_from("ab1_é!-.&<日😀"), min_size=1, max_size=8)
    texts = st.lists(words, max_size=6).map(" ".join) | st.text(max_size=20)
    return st.lists(texts.map(clean), max_size=6)


def hash_of(ngram: str, block: Block) -> int:
    """The hash of an n-gram, found in the text that is hardly more than that n-gram."""
    text = ngram.strip()
    # Of a text of one word both implementations give the n-grams by length and then by place.
    place = ORACLES[block].build_analyzer()(text).index(ngram)
    return int(extract_ngrams([text])[block].hashes_T[place])


@given(cleaned_texts())
def test_ngrams_are_those_of_another_implementation(texts: list[str]) -> None:
    extracted = extract_ngrams(texts)
    for block, oracle in ORACLES.items():
        expected = [oracle.build_analyzer()(text) for text in texts]
        hashes = {ngram: hash_of(ngram, block) for ngrams in expected for ngram in ngrams}
        assert len(set(hashes.values())) == len(hashes)
        ngrams = extracted[block]
        for row, expected_ngrams in enumerate(expected):
            found = ngrams.hashes_T[ngrams.rows_T == row]
            assert sorted(found.tolist()) == sorted(hashes[ngram] for ngram in expected_ngrams)


@given(cleaned_texts())
def test_word_ngrams_start_where_their_first_word_does(texts: list[str]) -> None:
    joined = " " + " ".join(texts) + " "
    words = extract_ngrams(texts)[Block.WORDS]
    starts = [match.start() for match in re.finditer(r"\b\w+\b", joined)]
    assert words.starts_T[: len(starts)].tolist() == starts
    assert set(words.starts_T[len(starts) :].tolist()) <= set(starts)


@given(cleaned_texts())
def test_character_ngrams_start_in_their_text_or_on_the_space_before_it(texts: list[str]) -> None:
    first_of_text = np.cumsum([0, *(len(text) + 1 for text in texts)])
    ngrams = extract_ngrams(texts)[Block.CHARACTERS]
    assert np.all(first_of_text[ngrams.rows_T] <= ngrams.starts_T)
    assert np.all(ngrams.starts_T < first_of_text[ngrams.rows_T + 1])


@given(cleaned_texts())
def test_ngrams_of_a_text_do_not_depend_on_its_neighbours(texts: list[str]) -> None:
    together = extract_ngrams(texts)
    for row, text in enumerate(texts):
        for block, alone in extract_ngrams([text]).items():
            in_row = together[block].rows_T == row
            assert together[block].hashes_T[in_row].tolist() == alone.hashes_T.tolist()


def test_hashes_are_those_that_stored_vocabularies_hold() -> None:
    # Written down once: a change of them makes every stored version unreadable.
    ngrams = extract_ngrams(["le chat"])
    assert [hex(hash_) for hash_ in ngrams[Block.WORDS].hashes_T.tolist()] == [
        "0x51383e2d8cf3e16a",
        "0xa66f79f37ac4713e",
        "0x3f349dbf75c60f4a",
    ]
    # The first of two characters, and the first of three.
    characters = ngrams[Block.CHARACTERS].hashes_T
    assert [hex(int(characters[place])) for place in (0, 8)] == ["0x8b5e28c4998ea424", "0x404b3ee6a18191a0"]


@given(cleaned_texts(), st.integers(1, 3), st.integers(1, 3))
def test_a_vocabulary_holds_what_enough_texts_hold(
    texts: list[str], min_texts_words: int, min_texts_characters: int
) -> None:
    min_texts = {Block.WORDS: min_texts_words, Block.CHARACTERS: min_texts_characters}
    vocabulary = learn_vocabulary(texts, min_texts)
    learned = dict(zip(vocabulary.hashes_V.tolist(), vocabulary.idf_V.tolist(), strict=True))
    num_expected = dict.fromkeys(Block, 0)
    for block, oracle in ORACLES.items():
        held = [set(oracle.build_analyzer()(text)) for text in texts]
        for ngram in set().union(*held):
            frequency = sum(ngram in ngrams for ngrams in held)
            if frequency >= min_texts[block]:
                num_expected[block] += 1
                idf = np.log((1 + len(texts)) / (1 + frequency)) + 1
                assert learned[hash_of(ngram, block)] == pytest.approx(idf, abs=1e-6)
    assert vocabulary.num_word_ngrams == num_expected[Block.WORDS]
    assert len(vocabulary) == sum(num_expected.values())


@given(cleaned_texts().flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))))
def test_a_vocabulary_does_not_depend_on_the_order_of_texts(orders: tuple[list[str], list[str]]) -> None:
    vocabulary, again = (learn_vocabulary(iter(texts), ALL) for texts in orders)
    assert np.array_equal(vocabulary.hashes_V, again.hashes_V)
    assert np.array_equal(vocabulary.idf_V, again.idf_V)


def test_a_vocabulary_learned_in_chunks_is_that_of_all_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"chat {number % 7} chien {number % 5}" for number in range(50)]
    whole = learn_vocabulary(texts, {Block.WORDS: 2, Block.CHARACTERS: 3})
    monkeypatch.setattr("models.text.ngram_vocabulary._LEARNING_CHUNK_CHARACTERS", 40)
    in_chunks = learn_vocabulary(texts, {Block.WORDS: 2, Block.CHARACTERS: 3})
    assert np.array_equal(whole.hashes_V, in_chunks.hashes_V)
    assert np.array_equal(whole.idf_V, in_chunks.idf_V)


def test_the_most_frequent_ngrams_are_kept() -> None:
    texts = ["chat noir", "chat blanc", "chat", "chien"]
    everything = learn_vocabulary(texts, ALL)
    kept = learn_vocabulary(texts, ALL, max_ngrams=10)
    assert len(kept) == 10
    assert set(kept.hashes_V) <= set(everything.hashes_V)
    assert kept.idf_V.max() <= np.sort(everything.idf_V)[9]
    assert hash_of("chat", Block.WORDS) in kept.hashes_V.tolist()[: kept.num_word_ngrams]


def test_texts_are_chunked_in_order() -> None:
    texts = ["aa", "bbb", "c" * 30, "", "d", "ee"]
    chunks = list(chunks_by_length(texts, 6))
    assert list(chain.from_iterable(chunks)) == texts
    assert chunks == [["aa", "bbb"], ["c" * 30], ["", "d", "ee"]]
    assert list(chunks_by_length([], 6)) == []


def vocabulary_of(hashes: list[int], num_word_ngrams: int = 0) -> NgramVocabulary:
    hashes_V = np.array(hashes, np.uint64)
    return NgramVocabulary(hashes_V, np.ones(len(hashes), np.float32), num_word_ngrams)


@given(st.sets(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=80), st.lists(st.integers(0, 60)))
def test_the_lookup_finds_what_is_there_and_nothing_else(known: set[int], others: list[int]) -> None:
    hashes = sorted(known)
    lookup = NgramLookup(vocabulary_of(hashes))
    asked = [*hashes, *others, *hashes[::-1]]
    expected = [hashes.index(hash_) if hash_ in known else UNKNOWN for hash_ in asked]
    assert lookup.find(np.array(asked, np.uint64)).tolist() == expected


def test_the_lookup_finds_hashes_that_all_want_the_same_place() -> None:
    hashes = [2**64 - 1 - number for number in range(100)][::-1]
    lookup = NgramLookup(vocabulary_of(hashes))
    assert lookup.find(np.array(hashes, np.uint64)).tolist() == list(range(100))
    assert lookup.find(np.array([2**64 - 200, 5], np.uint64)).tolist() == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("hashes", [[0, 0, 0], [1, 2, 2], [3, 2, 1]])
def test_damaged_hashes_are_refused(hashes: list[int]) -> None:
    with pytest.raises(BundleError, match="do not rise"):
        NgramLookup(vocabulary_of(hashes))


def test_both_blocks_may_hold_the_same_range_of_hashes() -> None:
    lookup = NgramLookup(vocabulary_of([5, 9, 3, 7], num_word_ngrams=2))
    assert lookup.find(np.array([3, 5, 7, 9, 4], np.uint64)).tolist() == [2, 0, 3, 1, UNKNOWN]
