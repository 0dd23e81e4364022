"""What explainers of texts and of pictures answer, and how they are asked.

Letters: B texts, N pictures, W words of a text, R rows and Q columns of a grid, K categories asked about.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.explain.words import WordSpan

__all__ = ["ImageAttributions", "ImageExplainer", "TextAttributions", "TextExplainer"]


@dataclass(frozen=True, slots=True, eq=False)
class TextAttributions:
    """What each word of a text adds to its evidence: `base_K + values_WK.sum(0)` is the evidence.

    Attributes:
        words: W of them, in order.
        values_WK: float64, their Shapley values.
        base_K: float64, the evidence of the text with all its words removed.
        num_evaluations: of the encoder, beyond what a closed form needs.
    """

    words: tuple[WordSpan, ...]
    values_WK: NDArray[np.float64]
    base_K: NDArray[np.float64]
    num_evaluations: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ImageAttributions:
    """What each part of a picture adds to its evidence: `base_K + values_RQK.sum((0, 1))` is the evidence.

    Attributes:
        values_RQK: float64, Shapley or Owen values over a grid on the square that the encoder sees.
        base_K: float64, the evidence of the background.
        num_evaluations: of the encoder, beyond the one forward that exact values need.
    """

    values_RQK: NDArray[np.float64]
    base_K: NDArray[np.float64]
    num_evaluations: int = 0


class TextExplainer(ABC):
    """Explains the evidence of one text encoder."""

    method: ClassVar[str]
    """Its name in an answer."""

    @abstractmethod
    def explain(
        self, texts: Sequence[tuple[str, str]], columns_K: NDArray[np.int64], max_evaluations: int
    ) -> list[TextAttributions]:
        """Attributions of B (title, description) pairs as received; one without any word has none.

        Args:
            texts: B of them.
            columns_K: the categories, by their column in the encoder's evidence.
            max_evaluations: of the encoder for each text; exact explainers need none.
        """


class ImageExplainer(ABC):
    """Explains the evidence of an image encoder."""

    method: ClassVar[str]
    """Its name in an answer."""

    @abstractmethod
    def explain(
        self, pixels_NHWK: NDArray[np.uint8], columns_K: NDArray[np.int64], max_evaluations: int
    ) -> list[ImageAttributions]:
        """Attributions of N pictures as the decoder makes them, uint8 RGB.

        Args:
            pixels_NHWK: the pictures, K being the three colours here.
            columns_K: the categories, by their column in the encoder's evidence.
            max_evaluations: of the encoder for each picture; exact explainers need none.
        """
