"""The n-grams of cleaned texts as 64-bit hashes, found by arithmetic on whole arrays of code points.

Word n-grams are runs of word characters (letters, digits, underscore) and pairs of neighbouring ones.
Character n-grams have 2 to 6 code points, lie within a stretch between spaces and may take in the space on
either side. An n-gram is known by the hash of its code points and its kind, in
every process and release: a stored vocabulary depends on it.

The hashes are polynomials in the code points modulo 2^64 (Karp and Rabin, 1987, "Efficient randomized
pattern-matching algorithms"), finished by the mixer of SplitMix64 (Steele, Lea and Flood, 2014, figure 16).
Among a million n-grams some two share a hash with probability 3e-8.

Letters: L code points of all texts in a row, T n-grams, W words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_CHAR_NGRAM", "MIN_CHAR_NGRAM", "Block", "Ngrams", "extract_ngrams", "last_word_starts"]

MIN_CHAR_NGRAM: Final = 2
MAX_CHAR_NGRAM: Final = 6

_BASE: Final = np.uint64(0x9E6C63D0876A9A47)
_INVERSE_BASE: Final = np.uint64(pow(int(_BASE), -1, 1 << 64))
_WORD: Final = np.uint64(0x5B8F1D2E4C7A9631)
_WORD_PAIR: Final = np.uint64(0xC3A5C85C97CB3127)
_CHARACTERS: Final = {
    length: np.uint64(pow(0xD1B54A32D192ED03, length, 1 << 64))
    for length in range(MIN_CHAR_NGRAM, MAX_CHAR_NGRAM + 1)
}
_SPACE: Final = ord(" ")


class Block(IntEnum):
    """The two families of n-grams; each is weighted as a vector of its own."""

    WORDS = 0
    CHARACTERS = 1


@dataclass(frozen=True, slots=True, eq=False)
class Ngrams:
    """Every occurrence of an n-gram of one block, rising by text within each length.

    Attributes:
        hashes_T: uint64.
        rows_T: int64, the text it is in.
        starts_T: int64, where it starts in the texts laid end to end, each behind one space.
    """

    hashes_T: NDArray[np.uint64]
    rows_T: NDArray[np.int64]
    starts_T: NDArray[np.int64]


def last_word_starts(words: Ngrams) -> NDArray[np.int64]:
    """Where the last word of each word n-gram starts: the second of a pair, the word itself of a single one.

    Args:
        words: of `Block.WORDS`, all of them.
    """
    # Behind the last single word comes the pair of the first one: there starts fall, or stay.
    first_pair = np.flatnonzero(np.diff(words.starts_T, prepend=-1) <= 0)[:1]
    num_singles = int(first_pair[0]) if len(first_pair) else len(words.starts_T)
    singles_W, pairs_T = words.starts_T[:num_singles], words.starts_T[num_singles:]
    return np.concatenate([singles_W, singles_W[np.searchsorted(singles_W, pairs_T) + 1]])


def extract_ngrams(texts: Sequence[str]) -> dict[Block, Ngrams]:
    """All n-grams of cleaned texts; about 40 ns a code point, and memory for some 100 bytes."""
    joined = " " + " ".join(texts) + " "
    codes_L = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    rows_L = np.repeat(np.arange(len(texts)), lengths)
    return {
        Block.WORDS: _word_ngrams(codes_L, rows_L),
        Block.CHARACTERS: _character_ngrams(codes_L, rows_L),
    }


def _character_ngrams(codes_L: NDArray[np.uint32], rows_L: NDArray[np.int64]) -> Ngrams:
    code_L = codes_L.astype(np.uint64)
    visible_L = codes_L != _SPACE
    hash_L, inside_L = code_L, visible_L[:-1] | visible_L[1:]
    hashes, starts = [], []
    for length in range(MIN_CHAR_NGRAM, MAX_CHAR_NGRAM + 1):
        hash_L = hash_L[:-1] * _BASE + code_L[length - 1 :]
        if length > MIN_CHAR_NGRAM:
            inside_L = inside_L[:-1] & visible_L[length - 2 : -1]
        starts.append(np.flatnonzero(inside_L))
        hashes.append(hash_L[starts[-1]] ^ _CHARACTERS[length])
    starts_T = np.concatenate(starts)
    return Ngrams(_mix(np.concatenate(hashes)), rows_L[starts_T], starts_T)


def _word_ngrams(codes_L: NDArray[np.uint32], rows_L: NDArray[np.int64]) -> Ngrams:
    starts_W, ends_W = _words(codes_L)
    words_W = _mix(_hash_spans(codes_L, starts_W, ends_W) ^ _WORD)
    rows_W = rows_L[starts_W]
    pairs = np.flatnonzero(rows_W[:-1] == rows_W[1:])
    pair_hashes = _mix((words_W[pairs] * _BASE + words_W[pairs + 1]) ^ _WORD_PAIR)
    return Ngrams(
        hashes_T=np.concatenate([words_W, pair_hashes]),
        rows_T=np.concatenate([rows_W, rows_W[pairs]]),
        starts_T=np.concatenate([starts_W, starts_W[pairs]]),
    )


def _words(codes_L: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    in_word_L = _word_characters()[codes_L]
    # The first and the last code point are spaces, so every word has both its edges here.
    edges = np.flatnonzero(in_word_L[:-1] != in_word_L[1:]) + 1
    return edges[::2], edges[1::2]


def _hash_spans(
    codes_L: NDArray[np.uint32], starts_W: NDArray[np.int64], ends_W: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Sum of code[i] * BASE^(i - start) over each span, from differences of one running sum."""
    sums_L = np.zeros(len(codes_L) + 1, np.uint64)
    np.cumsum(codes_L * _powers(_BASE, len(codes_L)), out=sums_L[1:])
    return (sums_L[ends_W] - sums_L[starts_W]) * _powers(_INVERSE_BASE, len(codes_L))[starts_W]


def _powers(base: np.uint64, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, base)
    powers[:1] = 1
    return np.cumprod(powers, out=powers)


def _mix(hashes_T: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of hashes over all 64 places, in place."""
    hashes_T ^= hashes_T >> np.uint64(30)
    hashes_T *= np.uint64(0xBF58476D1CE4E5B9)
    hashes_T ^= hashes_T >> np.uint64(27)
    hashes_T *= np.uint64(0x94D049BB133111EB)
    hashes_T ^= hashes_T >> np.uint64(31)
    return hashes_T


@cache
def _word_characters() -> NDArray[np.bool_]:
    """Whether each code point is a letter, a digit or an underscore, as in a word of a pattern."""
    return np.fromiter(
        (character.isalnum() or character == "_" for character in map(chr, range(0x110000))), bool
    )
