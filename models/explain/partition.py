"""Owen values of the words of any text encoder: by evaluations within a budget, not by a closed form."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.explain.base import TextAttributions, TextExplainer
from models.explain.owen import grid_tree, owen_values
from models.explain.words import WordSpan, keep_words, split_words
from models.inputs import PreparedBatch
from models.text.base import TextEncoder

__all__ = ["PartitionTextExplainer"]

_BATCH_SIZE = 64


class PartitionTextExplainer(TextExplainer):
    """Owen values over a tree that halves the row of words.

    The game: a removed word is cut out of the text as received, and the rest is read anew. Without any word
    there is no text, and the evidence of that is 0.
    """

    method: ClassVar[str] = "partition (absent words cut out)"

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    @torch.inference_mode()
    def explain(
        self, texts: Sequence[tuple[str, str]], columns_K: NDArray[np.int64], max_evaluations: int
    ) -> list[TextAttributions]:
        """Attributions of B texts, one after the other."""
        return [self._explain(text, columns_K, max_evaluations) for text in texts]

    def words(self, text: tuple[str, str]) -> tuple[WordSpan, ...]:
        """The words of a title and a description."""
        return split_words(*text, max_characters=self._encoder.max_characters).words

    def _explain(
        self, text: tuple[str, str], columns_K: NDArray[np.int64], max_evaluations: int
    ) -> TextAttributions:
        words = self.words(text)
        if not words:
            return TextAttributions((), np.zeros((0, len(columns_K))), np.zeros(len(columns_K)))

        def game(masks_MW: NDArray[np.bool_]) -> NDArray[np.float64]:
            masked = [keep_words(text, words, mask_W) for mask_W in masks_MW]
            return self.evidence(masked)[:, columns_K]

        tree = grid_tree(1, len(words))
        values_WK, base_K, num_evaluations = owen_values(
            game, tree, max_evaluations=max_evaluations, batch_size=_BATCH_SIZE
        )
        return TextAttributions(words, values_WK, base_K, num_evaluations)

    @torch.inference_mode()
    def evidence(self, texts: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """evidence_BC of texts, as the encoder has it."""
        device = next(self._encoder.parameters()).device
        batch = PreparedBatch.of_texts(self._encoder.featurize(texts)).to_tensors(device)
        evidence_BC: NDArray[np.float64] = self._encoder(batch).double().cpu().numpy()
        return evidence_BC
