"""Exact Shapley values of the words of an n-gram bag, in closed form.

The game: an n-gram counts where all the words that it lies in are there, with the weight that the whole text
gives it; a word that is removed leaves nothing in its place, and the norm of the text stays. So the evidence
is a sum of unanimity games, one an occurrence, and the value of such a game is shared equally among its words
(Shapley 1953, "A Value for n-Person Games", lemma 2): an n-gram within a word is all that word's, and a pair
of words is half each one's.

Letters: B texts, L code points of all of them, T occurrences of known n-grams, W words of all texts, K
categories.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.explain.base import TextAttributions, TextExplainer
from models.explain.words import NO_WORD, SplitText, split_words
from models.text.ngram_bag import NgramBag

__all__ = ["NgramBagExplainer"]


class NgramBagExplainer(TextExplainer):
    """Shapley values of words, exact to float32 rounding of the weights; cost as of reading the texts."""

    method: ClassVar[str] = "exact (n-grams of absent words removed)"

    def __init__(self, encoder: NgramBag) -> None:
        self._encoder = encoder

    @torch.inference_mode()
    def explain(
        self,
        texts: Sequence[tuple[str, str]],
        columns_K: NDArray[np.int64],
        max_evaluations: int = 0,  # noqa: ARG002 - a closed form needs none
    ) -> list[TextAttributions]:
        """Attributions of B texts, all at once."""
        split = [split_words(*text, max_characters=self._encoder.max_characters) for text in texts]
        values_WK = self._values(split, columns_K)
        base_K = self._encoder.bias_C.double().cpu().numpy()[columns_K]
        firsts = np.cumsum([0, *(len(each.words) for each in split)])
        return [
            TextAttributions(each.words, values_WK[first : first + len(each.words)], base_K)
            for each, first in zip(split, firsts, strict=False)
        ]

    def _values(self, split: Sequence[SplitText], columns_K: NDArray[np.int64]) -> NDArray[np.float64]:
        occurrences = self._encoder.occurrences([each.text for each in split])
        evidence_TK = self._encoder.ngram_evidence(occurrences.ids_T, columns_K).double().cpu()
        half_TK = evidence_TK * torch.from_numpy(occurrences.weights_T / 2)[:, None]
        word_L = _words_end_to_end(split)
        num_words = sum(len(each.words) for each in split)
        values_WK = torch.zeros(num_words, len(columns_K), dtype=torch.float64)
        for starts_T in (occurrences.starts_T, occurrences.last_starts_T):
            # A character n-gram may begin with the space before its word.
            word_T = np.maximum(word_L[starts_T], word_L[starts_T + 1])
            values_WK.index_add_(0, torch.from_numpy(word_T), half_TK)
        return values_WK.numpy()


def _words_end_to_end(split: Sequence[SplitText]) -> NDArray[np.int64]:
    """The word of each code point of texts laid end to end, each behind one space, with one at the end."""
    parts, num_words = [], 0
    for each in split:
        parts += [np.full(1, NO_WORD), np.where(each.word_L == NO_WORD, NO_WORD, each.word_L + num_words)]
        num_words += len(each.words)
    return np.concatenate([*parts, np.full(1, NO_WORD)])
