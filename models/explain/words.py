"""The words of a product as it came in: the players of every text explanation.

A word is a stretch between spaces of the cleaned text, taken back to where it was. Stretches that come from
the same characters, such as the two of U+FDFA, are one word. So words never overlap, and everything that is
read of a text lies in one. Letters: L code points of the cleaned text, S stretches, W words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.text.cleaning import TracedText, clean_and_trace

__all__ = ["NO_WORD", "SplitText", "WordSpan", "keep_words", "split_words"]

NO_WORD = -1
"""The word of a space."""

_SPACE = ord(" ")


@dataclass(frozen=True, slots=True)
class WordSpan:
    """Where a word stands in a product as received.

    Attributes:
        field: `title` or `description`.
        start: of its first code point.
        end: behind its last code point.
    """

    field: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class SplitText:
    """Title and description as encoders read them, and the words they are made of.

    Attributes:
        text: cleaned and joined by a space, L code points.
        words: W of them, in order.
        word_L: int64, the number of each code point's word, `NO_WORD` of a space.
    """

    text: str
    words: tuple[WordSpan, ...]
    word_L: NDArray[np.int64]


def split_words(title: str, description: str, *, max_characters: int) -> SplitText:
    """Clean a product's text as encoders do, and keep track of its words.

    Args:
        title: as received.
        description: as received.
        max_characters: code points of each, once cleaned, that the encoder reads.
    """
    texts: list[str] = []
    words: list[WordSpan] = []
    word_L = [np.zeros(0, np.int64)]
    for field, received in (("title", title), ("description", description)):
        traced = clean_and_trace(received, max_characters=max_characters)
        if not traced.text:
            continue
        if texts:
            word_L.append(np.full(1, NO_WORD))
        numbers_L, spans = _words_of(traced)
        word_L.append(np.where(numbers_L == NO_WORD, NO_WORD, numbers_L + len(words)))
        words += [WordSpan(field, start, end) for start, end in spans]
        texts.append(traced.text)
    return SplitText(" ".join(texts), tuple(words), np.concatenate(word_L))


def keep_words(
    text: tuple[str, str], words: Sequence[WordSpan], kept_W: NDArray[np.bool_]
) -> tuple[str, str]:
    """Title and description as received with all other words cut out; without any word nothing is left."""
    if not kept_W.any():
        return "", ""
    fields = dict(zip(("title", "description"), text, strict=True))
    for word, kept in zip(reversed(words), reversed(kept_W), strict=True):
        if not kept:
            received = fields[word.field]
            fields[word.field] = received[: word.start] + received[word.end :]
    return fields["title"], fields["description"]


def _words_of(traced: TracedText) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
    """The word of each code point, and where each word stands in the text as received."""
    visible_L = np.frombuffer(traced.text.encode("utf-32-le"), np.uint32) != _SPACE
    edges = np.flatnonzero(np.diff(visible_L, prepend=False, append=False))
    firsts_S, ends_S = edges[::2], edges[1::2]
    starts_S, stops_S = traced.starts_L[firsts_S], traced.ends_L[ends_S - 1]
    new_S = np.append(True, starts_S[1:] >= stops_S[:-1])
    word_S = np.cumsum(new_S) - 1
    word_L = np.full(len(traced), NO_WORD)
    word_L[visible_L] = np.repeat(word_S, ends_S - firsts_S)
    last_of_word = np.append(np.flatnonzero(new_S)[1:] - 1, len(word_S) - 1)
    return word_L, list(zip(starts_S[new_S].tolist(), stops_S[last_of_word].tolist(), strict=True))
