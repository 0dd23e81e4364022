"""Measures explanations on many products: how faithful each method is, and how long it takes.

The exact method of an encoder stands beside a random order and beside shap's partition explainer at 100 and
1,000 evaluations. As a sanity check, values must change when the parameters are shuffled (Adebayo et al.
2018, "Sanity Checks for Saliency Maps").
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from models.explain.base import ImageExplainer, TextExplainer
from models.explain.cells import CellsExplainer
from models.explain.faithfulness import (
    SHARES,
    PictureFaithfulness,
    TextFaithfulness,
    picture_faithfulness,
    text_faithfulness,
)
from models.explain.partition import PartitionTextExplainer
from models.explain.pixels import PixelsExplainer
from models.explain.product import exact_text_explainer
from models.image.base import ImageEncoder
from models.inputs import PreparedBatch, Product, TextFeatures
from models.runtime import Classifier
from models.text.base import TextEncoder

__all__ = ["PictureQuality", "TextQuality", "picture_quality", "text_quality"]

SHAP_EVALUATIONS: Final = (100, 1_000)
PIXEL_EVALUATIONS: Final = 500
EXACT: Final = "exact"
RANDOM: Final = "random order"

Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class TextQuality:
    """Of one method on some texts.

    Attributes:
        method: its name.
        texts: how many were explained.
        comprehensiveness: mean probability lost without the most important share of words.
        sufficiency: mean probability lost with them alone.
        milliseconds: of one explanation, in the mean; 0 for a random order.
        shuffled_correlation: mean rank correlation with the values of a model whose parameters are shuffled;
            near 0 for a method that looks at the model. None where it was not measured.
    """

    method: str
    texts: int
    comprehensiveness: Mapping[str, float]
    sufficiency: Mapping[str, float]
    milliseconds: float
    shuffled_correlation: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PictureQuality:
    """Of one method on some pictures.

    Attributes:
        method: its name.
        pictures: how many were explained.
        deletion: mean area under the probability while pictures are blurred; less is better.
        insertion: mean area while they are brought back; more is better.
        milliseconds: of one explanation, in the mean; 0 for a random order.
    """

    method: str
    pictures: int
    deletion: float
    insertion: float
    milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


ExplainText = Callable[[tuple[str, str], int], NDArray[np.float64]]
"""values_W of a text's words, for a category by its column."""
ExplainPicture = Callable[[NDArray[np.uint8], int], NDArray[np.float64]]
"""values_RQ on a grid over a picture, for a category by its column."""


def text_quality(
    classifier: Classifier,
    texts: Sequence[tuple[str, str]],
    *,
    seed: int = 1,
    advance: Advance = lambda _: None,
) -> list[TextQuality]:
    """Every method on the same texts, each explained for the category that the text alone is given.

    Args:
        classifier: its text encoder is explained; without one the answer is empty.
        texts: (title, description) pairs; those without a word are left out.
        seed: of the random order and of the shuffled parameters.
        advance: told the number of texts as they are done.
    """
    encoder = classifier.network.text
    if encoder is None:
        return []
    methods = _text_methods(encoder, seed)
    shuffled = exact_text_explainer(_shuffled(encoder, seed))
    splitter = PartitionTextExplainer(encoder)
    measured: dict[str, list[tuple[TextFaithfulness, float]]] = {name: [] for name in methods}
    correlations = []
    for text in texts:
        advance(1)
        words = splitter.words(text)
        if not words:
            continue
        column = int(_scores_of_texts(classifier, [text]).argmax())
        score = partial(_scores_of_texts, classifier, column=column)
        for name, explain in methods.items():
            began = time.perf_counter()
            values_W = explain(text, column)
            seconds = 0.0 if name == RANDOM else time.perf_counter() - began
            measured[name].append((text_faithfulness(score, text, words, values_W), seconds))
            if name == EXACT and shuffled is not None and len(words) > 2:
                other_W = shuffled.explain([text], np.array([column]), 0)[0].values_WK[:, 0]
                correlations.append(float(spearmanr(values_W, other_W).statistic))
    return [_text_quality(name, found, correlations) for name, found in measured.items() if found]


def picture_quality(
    classifier: Classifier,
    pixels_NHWK: NDArray[np.uint8],
    *,
    seed: int = 1,
    advance: Advance = lambda _: None,
) -> list[PictureQuality]:
    """Every method on the same pictures, each explained for the category that the picture alone is given.

    Args:
        classifier: its image encoder is explained; without one the answer is empty.
        pixels_NHWK: pictures as the decoder makes them.
        seed: of the random order.
        advance: told the number of pictures as they are done.
    """
    if classifier.network.image is None or not len(pixels_NHWK):
        return []
    methods = _picture_methods(classifier.network.image, classifier.network.image_mean_C, seed)
    measured: dict[str, list[tuple[PictureFaithfulness, float]]] = {name: [] for name in methods}
    for pixels_HWK in pixels_NHWK:
        advance(1)
        column = int(_scores_of_pictures(classifier, pixels_HWK[None]).argmax())
        score = partial(_scores_of_pictures, classifier, column=column)
        for name, explain in methods.items():
            began = time.perf_counter()
            values_RQ = explain(pixels_HWK, column)
            seconds = 0.0 if name == RANDOM else time.perf_counter() - began
            measured[name].append((picture_faithfulness(score, pixels_HWK, values_RQ), seconds))
    return [
        PictureQuality(
            method=name,
            pictures=len(found),
            deletion=float(np.mean([each.deletion for each, _ in found])),
            insertion=float(np.mean([each.insertion for each, _ in found])),
            milliseconds=1e3 * float(np.mean([seconds for _, seconds in found])),
        )
        for name, found in measured.items()
    ]


def _text_methods(encoder: TextEncoder, seed: int) -> dict[str, ExplainText]:
    generator = np.random.default_rng(seed)
    partition, exact = PartitionTextExplainer(encoder), exact_text_explainer(encoder)

    def by(explainer: TextExplainer, budget: int, text: tuple[str, str], column: int) -> NDArray[np.float64]:
        return explainer.explain([text], np.array([column]), budget)[0].values_WK[:, 0]

    methods: dict[str, ExplainText] = {} if exact is None else {EXACT: partial(by, exact, 0)}
    for budget in SHAP_EVALUATIONS:
        methods[f"shap partition, {budget} evaluations"] = partial(by, partition, budget)
    methods[RANDOM] = lambda text, _column: generator.random(len(partition.words(text)))
    return methods


def _picture_methods(encoder: ImageEncoder, mean_C: Tensor, seed: int) -> dict[str, ExplainPicture]:
    generator = np.random.default_rng(seed)

    def by(explainer: ImageExplainer, pixels_HWK: NDArray[np.uint8], column: int) -> NDArray[np.float64]:
        (found,) = explainer.explain(pixels_HWK[None], np.array([column]), PIXEL_EVALUATIONS)
        return found.values_RQK[..., 0]

    return {
        "cells": partial(by, CellsExplainer(encoder, mean_C)),
        f"pixels, {PIXEL_EVALUATIONS} evaluations": partial(by, PixelsExplainer(encoder)),
        RANDOM: lambda _pixels, _column: generator.random(encoder.grid),
    }


def _text_quality(
    name: str, found: Sequence[tuple[TextFaithfulness, float]], correlations: Sequence[float]
) -> TextQuality:
    def mean(measure: str) -> dict[str, float]:
        rows = np.array([getattr(each, measure) for each, _ in found])
        return dict(zip(map(str, SHARES), rows.mean(axis=0).tolist(), strict=True))

    return TextQuality(
        method=name,
        texts=len(found),
        comprehensiveness=mean("comprehensiveness"),
        sufficiency=mean("sufficiency"),
        milliseconds=1e3 * float(np.mean([seconds for _, seconds in found])),
        shuffled_correlation=float(np.nanmean(correlations)) if name == EXACT and correlations else None,
    )


def _scores_of_texts(
    classifier: Classifier, texts: Sequence[tuple[str, str]], column: int | None = None
) -> NDArray[np.float64]:
    """Probabilities of texts without pictures, of all categories or of one."""
    return _scores(classifier, classifier.prepare([Product(*text) for text in texts]), column)


def _scores_of_pictures(
    classifier: Classifier, pixels_NHWK: NDArray[np.uint8], column: int | None = None
) -> NDArray[np.float64]:
    """Probabilities of pictures without texts, of all categories or of one."""
    rows = np.arange(len(pixels_NHWK))
    batch = PreparedBatch(TextFeatures.absent(len(rows)), pixels_NHWK, rows, (None,) * len(rows))
    return _scores(classifier, batch, column)


def _scores(classifier: Classifier, prepared: PreparedBatch, column: int | None) -> NDArray[np.float64]:
    probabilities_BC = classifier.score(prepared).probabilities_BC.astype(np.float64)
    return probabilities_BC if column is None else probabilities_BC[:, column]


@torch.no_grad()
def _shuffled(encoder: nn.Module, seed: int) -> Any:
    """The same encoder with the entries of each parameter in another order."""
    other = copy.deepcopy(encoder)
    generator = torch.Generator().manual_seed(seed)
    for parameter in other.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other
