"""How faithful explanations are: whether what they call important is what the model goes by.

Of a text, the words that speak most for the predicted category are cut out, or they alone are kept: the first
should cost probability (comprehensiveness), the second should keep it (sufficiency; DeYoung et al. 2020,
"ERASER", section 4). Of a picture, parts are blurred in the order of their values, or brought back in it: the
area under the probability should be small, or large (deletion and insertion; Petsiuk et al. 2018, "RISE",
section 4.2). Every measure stands beside that of a random order.

Letters: W words, R rows and Q columns of a grid, P parts of it, M masked versions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.explain.pixels import blurred
from models.explain.words import WordSpan, keep_words

__all__ = ["SHARES", "PictureFaithfulness", "TextFaithfulness", "picture_faithfulness", "text_faithfulness"]

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
"""Of the words of a text; at least one word is taken."""

_NUM_STEPS = 10
"""Steps in which a picture is blurred, or brought back."""

ScoreTexts = Callable[[Sequence[tuple[str, str]]], NDArray[np.float64]]
"""Probability of the explained category for each of M texts."""
ScorePictures = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""The same for each of M pictures."""


@dataclass(frozen=True, slots=True)
class TextFaithfulness:
    """Of one text; one number for each of `SHARES`.

    Attributes:
        comprehensiveness: probability lost without the most important words; more is better.
        sufficiency: probability lost with them alone; less is better.
    """

    comprehensiveness: tuple[float, ...]
    sufficiency: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PictureFaithfulness:
    """Of one picture.

    Attributes:
        deletion: mean probability while it is blurred, most important parts first; less is better.
        insertion: mean probability while it is brought back, most important parts first; more is better.
    """

    deletion: float
    insertion: float


def text_faithfulness(
    score: ScoreTexts, text: tuple[str, str], words: Sequence[WordSpan], values_W: NDArray[np.float64]
) -> TextFaithfulness:
    """What the order of the values is worth for one text of at least one word.

    Args:
        score: asked once, for the text and ten masked ones.
        text: title and description as received.
        words: of the text.
        values_W: of the words, for the category that `score` tells about.
    """
    order = np.argsort(-values_W, kind="stable")
    num_words = len(words)
    masks = [np.ones(num_words, np.bool_)]
    for share in SHARES:
        important = np.zeros(num_words, np.bool_)
        important[order[: max(1, round(share * num_words))]] = True
        masks += [~important, important]
    whole, *masked = score([keep_words(text, words, mask_W) for mask_W in masks]).tolist()
    return TextFaithfulness(
        comprehensiveness=tuple(whole - without for without in masked[::2]),
        sufficiency=tuple(whole - alone for alone in masked[1::2]),
    )


def picture_faithfulness(
    score: ScorePictures, pixels_HWK: NDArray[np.uint8], values_RQ: NDArray[np.float64]
) -> PictureFaithfulness:
    """What the order of the values is worth for one picture.

    Args:
        score: asked once, for some twenty pictures.
        pixels_HWK: as the decoder makes it, uint8 RGB.
        values_RQ: on a grid over it, for the category that `score` tells about.
    """
    order = np.argsort(-values_RQ.ravel(), kind="stable")
    num_parts = len(order)
    counts = np.unique(np.linspace(0, num_parts, _NUM_STEPS + 1).round().astype(int))
    masks = np.zeros((len(counts), num_parts), np.bool_)
    for step, count in enumerate(counts):
        masks[step, order[:count]] = True
    background_HWK = blurred(pixels_HWK)
    grid = values_RQ.shape
    inserted = [_shown(mask_P.reshape(grid), pixels_HWK, background_HWK) for mask_P in masks]
    deleted = [_shown(~mask_P.reshape(grid), pixels_HWK, background_HWK) for mask_P in masks]
    probabilities = score(np.stack([*inserted, *deleted]))
    share = counts / num_parts
    insertion, deletion = (
        float(np.trapezoid(part, share)) for part in np.split(probabilities, [len(counts)])
    )
    return PictureFaithfulness(deletion=deletion, insertion=insertion)


def _shown(
    mask_RQ: NDArray[np.bool_], pixels_HWK: NDArray[np.uint8], background_HWK: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The picture where the mask is set, the background elsewhere."""
    rows, columns = mask_RQ.shape
    height, width, _ = pixels_HWK.shape
    row_H, column_W = np.arange(height) * rows // height, np.arange(width) * columns // width
    return np.where(mask_RQ[row_H][:, column_W, None], pixels_HWK, background_HWK)
