"""Exact Shapley values of the words of a mean of token embeddings.

The game: a removed word takes its tokens with it, so the mean is taken over those that are left; tokens that
belong to no word, such as the special ones of a tokeniser, always stay. With s_i the sum of the evidence of
word i's tokens, n_i their number, s_0 and n_0 those of the tokens that stay, a coalition S is worth

    v(S) = (s_0 + sum of s_j over S) / (n_0 + sum of n_j over S).

A Shapley value is the mean gain when each other word is there with probability t, over t from 0 to 1 (Owen
1972, "Multilinear Extensions of Games"), and 1 / n is the integral of u^(n - 1) over u from 0 to 1. Together

    E[1 / (n + N_S)] = integral of u^(n - 1) times the product over words j of (1 - t + t u^n_j),

a polynomial in t and u, which Gauss-Legendre quadrature integrates exactly. Words with as many tokens share
all factors, so the cost is O((D^2 + M) M N) for M words of N tokens and D different lengths.

Letters: W words, K categories, D different numbers of tokens, Q nodes of the quadrature.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.explain.base import TextAttributions, TextExplainer
from models.explain.words import NO_WORD, split_words
from models.text.embedding_bag import EmbeddingBagEncoder

__all__ = ["MeanBagExplainer", "shapley_values_of_mean"]


class MeanBagExplainer(TextExplainer):
    """Shapley values of words, exact; the tokens are those of the whole text."""

    method: ClassVar[str] = "exact (tokens of absent words removed from the mean)"

    def __init__(self, encoder: EmbeddingBagEncoder) -> None:
        self._encoder = encoder

    @torch.inference_mode()
    def explain(
        self,
        texts: Sequence[tuple[str, str]],
        columns_K: NDArray[np.int64],
        max_evaluations: int = 0,  # noqa: ARG002 - exact values need none
    ) -> list[TextAttributions]:
        """Attributions of B texts, one after the other."""
        return [self._explain(title, description, columns_K) for title, description in texts]

    def _explain(self, title: str, description: str, columns_K: NDArray[np.int64]) -> TextAttributions:
        reader = self._encoder.reader
        split = split_words(title, description, max_characters=self._encoder.max_characters)
        ids, places = reader.tokenizer.encode_with_places(
            split.text, max_tokens=reader.max_tokens, special=reader.special
        )
        evidence_TK = self._encoder.token_evidence(ids, columns_K)
        # A token may begin with the space before its word, so it is known by where it ends; one that stands
        # for no characters belongs to no word.
        word_T = np.array([split.word_L[end - 1] if end > start else NO_WORD for start, end in places], int)
        num_words = len(split.words)
        sums_WK = np.zeros((num_words + 1, len(columns_K)))
        np.add.at(sums_WK, word_T, evidence_TK)  # NO_WORD is the last row
        counts_W = np.bincount(word_T % (num_words + 1), minlength=num_words + 1)
        values_WK, mean_K = shapley_values_of_mean(
            sums_WK[:-1], counts_W[:-1], fixed_K=sums_WK[-1], num_fixed=int(counts_W[-1])
        )
        bias_K = self._encoder.bias_C.double().cpu().numpy()[columns_K]
        return TextAttributions(split.words, values_WK, bias_K + mean_K)


def shapley_values_of_mean(
    sums_WK: NDArray[np.float64],
    counts_W: NDArray[np.int64],
    *,
    fixed_K: NDArray[np.float64],
    num_fixed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shapley values of words in the mean of their tokens, and the mean without any word.

    Args:
        sums_WK: of each word's tokens.
        counts_W: how many tokens each word has; one without any has the value 0.
        fixed_K: the sum of the tokens that always stay.
        num_fixed: how many these are; the mean of no token is 0.

    Returns:
        values_WK and base_K, float64; base plus the sum of the values is the mean of all tokens, to 1e-10.
    """
    base_K = fixed_K / max(1, num_fixed)
    values_WK = np.zeros_like(sums_WK)
    words = np.flatnonzero(counts_W)
    if not len(words):
        return values_WK, base_K
    sizes_D, kind_W, many_D = np.unique(counts_W[words], return_inverse=True, return_counts=True)
    sums_DK = np.zeros((len(sizes_D), sums_WK.shape[1]))
    np.add.at(sums_DK, kind_W, sums_WK[words])
    alone_D, fixed_D, beside_DD = _mean_gains(sizes_D, many_D, num_fixed)
    others_WK = (beside_DD @ sums_DK)[kind_W] - beside_DD[kind_W, kind_W, None] * sums_WK[words]
    values_WK[words] = alone_D[kind_W, None] * sums_WK[words] + others_WK + fixed_D[kind_W, None] * fixed_K
    return values_WK, base_K


def _mean_gains(
    sizes_D: NDArray[np.int64], many_D: NDArray[np.int64], num_fixed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What a word's coming adds, in the mean over coalitions, for each unit of the sums it is divided into.

    Returns:
        alone_D of the word's own sum, fixed_D of the sum that stays, and beside_DD of another word's sum, by
        the sizes of the two.
    """
    num_words, num_tokens = int(many_D.sum()), int(sizes_D @ many_D) + num_fixed
    (t, weight_t), (u, weight_u) = _unit_nodes(num_words // 2 + 1), _unit_nodes(num_tokens // 2 + 1)
    t_Q, u_Q = (each.ravel() for each in np.meshgrid(t, u, indexing="ij"))
    weight_Q = np.outer(weight_t, weight_u).ravel()
    powers_DQ = u_Q ** sizes_D[:, None]
    factor_DQ = 1 - t_Q + t_Q * powers_DQ
    others_DQ = weight_Q * np.exp(many_D @ np.log(factor_DQ) - np.log(factor_DQ))
    alone_D = (powers_DQ * others_DQ) @ u_Q ** (num_fixed - 1.0)
    dilution_DQ = (powers_DQ - 1) * others_DQ
    fixed_D = dilution_DQ @ u_Q ** (num_fixed - 1.0) if num_fixed else np.zeros(len(sizes_D))
    there_DQ = t_Q * powers_DQ / factor_DQ * u_Q ** (num_fixed - 1.0)
    return alone_D, fixed_D, dilution_DQ @ there_DQ.T


def _unit_nodes(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of Gauss-Legendre quadrature from 0 to 1, exact up to the degree 2 count - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2
