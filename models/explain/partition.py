"""Owen values of the words of any text encoder: by evaluations within a budget, not by a closed form."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.explain.base import TextAttributions, TextExplainer
from models.explain.owen import grid_tree, owen_values
from models.explain.words import WordSpan, split_words
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

    def _explain(
        self, text: tuple[str, str], columns_K: NDArray[np.int64], max_evaluations: int
    ) -> TextAttributions:
        words = split_words(*text, max_characters=self._encoder.max_characters).words
        if not words:
            return TextAttributions((), np.zeros((0, len(columns_K))), np.zeros(len(columns_K)))

        def game(masks_MW: NDArray[np.bool_]) -> NDArray[np.float64]:
            masked = [_without(text, words, mask_W) for mask_W in masks_MW]
            return self._evidence(masked)[:, columns_K]

        tree = grid_tree(1, len(words))
        values_WK, base_K, num_evaluations = owen_values(
            game, tree, max_evaluations=max_evaluations, batch_size=_BATCH_SIZE
        )
        return TextAttributions(words, values_WK, base_K, num_evaluations)

    def _evidence(self, texts: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        device = next(self._encoder.parameters()).device
        batch = PreparedBatch.of_texts(self._encoder.featurize(texts)).to_tensors(device)
        evidence_BC: NDArray[np.float64] = self._encoder(batch).double().cpu().numpy()
        return evidence_BC


def _without(
    text: tuple[str, str], words: Sequence[WordSpan], present_W: NDArray[np.bool_]
) -> tuple[str, str]:
    """Title and description with some words cut out; no word at all leaves none of the rest either."""
    if not present_W.any():
        return "", ""
    fields = dict(zip(("title", "description"), text, strict=True))
    for word, present in zip(reversed(words), reversed(present_W), strict=True):
        if not present:
            received = fields[word.field]
            fields[word.field] = received[: word.start] + received[word.end :]
    return fields["title"], fields["description"]
