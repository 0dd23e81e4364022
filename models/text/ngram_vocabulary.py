"""The n-grams that a model knows: learned from texts, and looked up by hash.

Letters: V known n-grams, word n-grams first; T occurrences in some texts; U different n-grams.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.errors import BundleError
from models.text.ngrams import Block, Ngrams, extract_ngrams

__all__ = ["NgramLookup", "NgramVocabulary", "chunks_by_length", "learn_vocabulary"]

UNKNOWN: Final = -1
"""What the lookup answers for an n-gram outside the vocabulary."""

_LEARNING_CHUNK_CHARACTERS: Final = 1 << 20
_MAX_LOAD: Final = 0.4

Counts = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""hashes_U, rising, and the number of texts that hold each."""


@dataclass(frozen=True, slots=True, eq=False)
class NgramVocabulary:
    """V n-grams by hash, and how telling each is.

    Attributes:
        hashes_V: uint64, rising within the word n-grams and within the character n-grams.
        idf_V: float32, ln((1 + texts) / (1 + texts that hold it)) + 1.
        num_word_ngrams: how many of the V are word n-grams; these come first.
    """

    hashes_V: NDArray[np.uint64]
    idf_V: NDArray[np.float32]
    num_word_ngrams: int

    def __len__(self) -> int:
        return len(self.hashes_V)


def learn_vocabulary(
    texts: Iterable[str], min_texts: Mapping[Block, int], *, max_ngrams: int | None = None
) -> NgramVocabulary:
    """The n-grams that at least `min_texts[block]` of the cleaned texts hold, the same for any order of them.

    With `max_ngrams` the most frequent are kept, both blocks taken together. Reads the texts once, at about a
    million code points a second.
    """
    num_texts, counts = _count_texts(texts)
    words = _at_least(min_texts[Block.WORDS], counts[Block.WORDS])
    characters = _at_least(min_texts[Block.CHARACTERS], counts[Block.CHARACTERS])
    if max_ngrams is not None:
        words, characters = _most_frequent(max_ngrams, words, characters)
    frequencies_V = np.concatenate([words[1], characters[1]])
    return NgramVocabulary(
        hashes_V=np.concatenate([words[0], characters[0]]),
        idf_V=(np.log((1 + num_texts) / (1 + frequencies_V)) + 1).astype(np.float32),
        num_word_ngrams=len(words[0]),
    )


def chunks_by_length(texts: Iterable[str], max_characters: int) -> Iterator[list[str]]:
    """The texts in order, in lists of up to `max_characters` code points; a longer text has its own list."""
    chunk: list[str] = []
    num_characters = 0
    for text in texts:
        if chunk and num_characters + len(text) > max_characters:
            yield chunk
            chunk, num_characters = [], 0
        chunk.append(text)
        num_characters += len(text) + 1
    if chunk:
        yield chunk


class NgramLookup:
    """From hashes to rows of a vocabulary, many at a time: an open hash table with linear probing.

    Read only once built, so any number of threads may share it. It takes 30 to 60 bytes an n-gram.

    Raises:
        BundleError: the hashes are not those of a vocabulary.
    """

    def __init__(self, vocabulary: NgramVocabulary) -> None:
        _check_hashes(vocabulary)
        size_bits = max(4, int(np.ceil(np.log2((len(vocabulary) + 1) / _MAX_LOAD))))
        self._shift = np.uint64(64 - size_bits)
        self._mask = (1 << size_bits) - 1
        self._hashes = np.zeros(1 << size_bits, np.uint64)
        self._ids = np.full(1 << size_bits, UNKNOWN, np.int32)
        self._insert(vocabulary.hashes_V, np.arange(len(vocabulary), dtype=np.int32))

    def find(self, hashes_T: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Rows of the vocabulary, int32 of length T; `UNKNOWN` where it has no such n-gram."""
        slots_T = self._first_slots(hashes_T)
        ids_T = self._ids[slots_T]
        stored_T = self._hashes[slots_T]
        searching = np.flatnonzero((stored_T != hashes_T) & (ids_T != UNKNOWN))
        while len(searching):
            slots_T[searching] = (slots_T[searching] + 1) & self._mask
            slots, sought = slots_T[searching], hashes_T[searching]
            ids_T[searching] = self._ids[slots]
            searching = searching[(self._hashes[slots] != sought) & (self._ids[slots] != UNKNOWN)]
        return ids_T

    def _insert(self, hashes_V: NDArray[np.uint64], ids_V: NDArray[np.int32]) -> None:
        slots_V = self._first_slots(hashes_V)
        waiting = np.arange(len(hashes_V))
        while len(waiting):
            slots = slots_V[waiting]
            free = self._ids[slots] == UNKNOWN
            # Of several n-grams that want one free slot the last one written has it, the others go on.
            self._ids[slots[free]] = ids_V[waiting[free]]
            settled = self._ids[slots] == ids_V[waiting]
            self._hashes[slots[settled]] = hashes_V[waiting[settled]]
            waiting = waiting[~settled]
            slots_V[waiting] = (slots_V[waiting] + 1) & self._mask

    def _first_slots(self, hashes_T: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (hashes_T >> self._shift).astype(np.int64)


def _check_hashes(vocabulary: NgramVocabulary) -> None:
    for hashes in np.split(vocabulary.hashes_V, [vocabulary.num_word_ngrams]):
        if not np.all(hashes[1:] > hashes[:-1]):
            raise BundleError("the n-gram hashes do not rise: the vocabulary is damaged or was never loaded")


def _count_texts(texts: Iterable[str]) -> tuple[int, dict[Block, Counts]]:
    num_texts = 0
    totals = {block: (np.zeros(0, np.uint64), np.zeros(0, np.int64)) for block in Block}
    for chunk in chunks_by_length(texts, _LEARNING_CHUNK_CHARACTERS):
        num_texts += len(chunk)
        for block, ngrams in extract_ngrams(chunk).items():
            totals[block] = _add(totals[block], _count_texts_of_each(ngrams))
    return num_texts, totals


def _count_texts_of_each(ngrams: Ngrams) -> Counts:
    # Occurrences of one n-gram come rising by text, and a stable sort keeps them so.
    order_T = np.argsort(ngrams.hashes_T, kind="stable")
    hashes_T, rows_T = ngrams.hashes_T[order_T], ngrams.rows_T[order_T]
    first_in_text_T = np.ones(len(hashes_T), np.bool_)
    first_in_text_T[1:] = (hashes_T[1:] != hashes_T[:-1]) | (rows_T[1:] != rows_T[:-1])
    return _sum_by_hash(hashes_T, first_in_text_T.astype(np.int64))


def _add(first: Counts, second: Counts) -> Counts:
    hashes = np.concatenate([first[0], second[0]])
    order = np.argsort(hashes, kind="stable")
    return _sum_by_hash(hashes[order], np.concatenate([first[1], second[1]])[order])


def _sum_by_hash(sorted_hashes: NDArray[np.uint64], counts: NDArray[np.int64]) -> Counts:
    if not len(sorted_hashes):
        return sorted_hashes, counts
    firsts = np.flatnonzero(np.append(True, sorted_hashes[1:] != sorted_hashes[:-1]))
    return sorted_hashes[firsts], np.add.reduceat(counts, firsts)


def _at_least(min_texts: int, counts: Counts) -> Counts:
    kept = counts[1] >= min_texts
    return counts[0][kept], counts[1][kept]


def _most_frequent(max_ngrams: int, words: Counts, characters: Counts) -> tuple[Counts, Counts]:
    frequencies = np.concatenate([words[1], characters[1]])
    kept = np.zeros(len(frequencies), np.bool_)
    kept[np.argsort(-frequencies, kind="stable")[:max_ngrams]] = True
    in_words, in_characters = np.split(kept, [len(words[1])])
    return (
        (words[0][in_words], words[1][in_words]),
        (characters[0][in_characters], characters[1][in_characters]),
    )
