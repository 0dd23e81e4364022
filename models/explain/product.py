"""Why a product got its category: the joint explanation of words and picture, from those of each alone.

The fusion adds up evidence, so the joint Shapley values of words and parts of the picture are those of each
modality, times its weight and over the temperature (linearity; Shapley 1953). Which modalities a product has
stays fixed: weights and temperature are those of the whole product.

Letters: B products, W words, R rows and Q columns of the grid, C categories, K of them asked about.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ImageReason
from models.explain.base import ImageAttributions, ImageExplainer, TextAttributions, TextExplainer
from models.explain.cells import CellsExplainer
from models.explain.mean_bag import MeanBagExplainer
from models.explain.ngram_bag import NgramBagExplainer
from models.explain.partition import PartitionTextExplainer
from models.explain.pixels import PixelsExplainer
from models.explain.words import WordSpan
from models.fusion import Presence
from models.image.decoding import SquareOnPicture, locate_square
from models.inputs import PreparedBatch, Product
from models.runtime import Classifier
from models.text.base import TextEncoder

__all__ = [
    "DEFAULT_MAX_EVALUATIONS",
    "CategoryExplanation",
    "ImageMethod",
    "ProductExplainer",
    "ProductExplanation",
    "exact_text_explainer",
]

DEFAULT_MAX_EVALUATIONS: Final = 500
"""Of an encoder for each text and each picture, where there is no closed form."""

TEXT_EXPLAINERS: Final[Mapping[str, Callable[[Any], TextExplainer]]] = {
    "ngram_bag": NgramBagExplainer,
    "embedding_bag": MeanBagExplainer,
}
"""Those with exact values, by the kind of their encoder; all others are explained by evaluations."""


class ImageMethod(StrEnum):
    """How a picture is explained."""

    CELLS = "cells"
    """Exactly, on the cells of the last map: one forward."""
    PIXELS = "pixels"
    """On patches of the picture itself, within a budget of evaluations."""


@dataclass(frozen=True, slots=True, eq=False)
class CategoryExplanation:
    """Why a product's logit for a category is what it is: base value plus all attributions.

    Attributes:
        column: of the category, in the order of the logits.
        base_value: the logit with every word and every part of the picture absent.
        value: the logit as it was scored.
        text_W: float64, Shapley values of the words.
        image_RQ: float64, those of the parts of the picture; None without a picture.
    """

    column: int
    base_value: float
    value: float
    text_W: NDArray[np.float64]
    image_RQ: NDArray[np.float64] | None

    @property
    def text_share(self) -> float:
        """The sum over all words."""
        return float(self.text_W.sum())

    @property
    def image_share(self) -> float:
        """The sum over the picture."""
        return 0.0 if self.image_RQ is None else float(self.image_RQ.sum())

    @property
    def additivity_error(self) -> float:
        """How far base value and attributions are from the logit."""
        return abs(self.base_value + self.text_share + self.image_share - self.value)


@dataclass(frozen=True, slots=True, eq=False)
class ProductExplanation:
    """An answer for one product.

    Attributes:
        words: W of them, as received.
        categories: in the order asked; without a wish the most probable one alone.
        text_method: how the text was explained; None without text.
        image_method: the same for the picture.
        square: what part of the picture the grid lies on; None without a picture.
        image_reason: why a promised picture is not used.
        num_evaluations: of both encoders.
    """

    words: tuple[WordSpan, ...]
    categories: tuple[CategoryExplanation, ...]
    text_method: str | None
    image_method: str | None
    square: SquareOnPicture | None
    image_reason: ImageReason | None
    num_evaluations: int

    @property
    def additivity_error(self) -> float:
        """The largest of all categories."""
        return max((each.additivity_error for each in self.categories), default=0.0)


class ProductExplainer:
    """Explains what a classifier says of products; it belongs to the classifier's thread."""

    def __init__(self, classifier: Classifier) -> None:
        """Take a classifier; nothing is computed yet."""
        network = classifier.network
        self.classifier = classifier
        self._network = network
        self._text = (
            None
            if network.text is None
            else (exact_text_explainer(network.text) or PartitionTextExplainer(network.text))
        )
        self._image: Mapping[ImageMethod, ImageExplainer] = {}
        if network.image is not None:
            self._image = {
                ImageMethod.CELLS: CellsExplainer(network.image, network.image_mean_C),
                ImageMethod.PIXELS: PixelsExplainer(network.image),
            }

    @torch.inference_mode()
    def explain(
        self,
        products: Sequence[Product],
        columns: Sequence[Sequence[int] | None] | None = None,
        *,
        image_method: ImageMethod = ImageMethod.CELLS,
        max_evaluations: int = DEFAULT_MAX_EVALUATIONS,
    ) -> list[ProductExplanation]:
        """Explanations of B products; an exact one costs little more than to score the product.

        Args:
            products: B of them.
            columns: of the categories each is asked about; None for the most probable one.
            image_method: how pictures are explained.
            max_evaluations: of an encoder for each text and each picture, where values are not exact.
        """
        prepared = self.classifier.prepare(products)
        logits_BC = self.classifier.score(prepared).logits_BC
        wishes = columns or [None] * len(products)
        wanted = [
            np.array([logits_C.argmax()] if wish is None else wish, np.int64)
            for wish, logits_C in zip(wishes, logits_BC, strict=True)
        ]
        columns_K = np.unique(np.concatenate([np.zeros(0, np.int64), *wanted]))
        texts = self._explain_texts(products, prepared, columns_K, max_evaluations)
        images = self._explain_images(prepared, columns_K, image_method, max_evaluations)
        return [
            self._join(
                _Asked(product, wanted[row], logits_BC[row], prepared.image_reasons[row]),
                columns_K,
                (texts.get(row), images.get(row)),
                image_method,
            )
            for row, product in enumerate(products)
        ]

    def _explain_texts(
        self,
        products: Sequence[Product],
        prepared: PreparedBatch,
        columns_K: NDArray[np.int64],
        max_evaluations: int,
    ) -> dict[int, TextAttributions]:
        rows = np.flatnonzero(prepared.text_present_B).tolist()
        if self._text is None or not rows:
            return {}
        texts = [(products[row].title, products[row].description) for row in rows]
        return dict(zip(rows, self._text.explain(texts, columns_K, max_evaluations), strict=True))

    def _explain_images(
        self,
        prepared: PreparedBatch,
        columns_K: NDArray[np.int64],
        method: ImageMethod,
        max_evaluations: int,
    ) -> dict[int, ImageAttributions]:
        rows = prepared.image_rows_N.tolist()
        if not rows:
            return {}
        attributions = self._image[method].explain(prepared.pixels_NHWK, columns_K, max_evaluations)
        return dict(zip(rows, attributions, strict=True))

    def _join(
        self,
        asked: "_Asked",
        columns_K: NDArray[np.int64],
        found: tuple[TextAttributions | None, ImageAttributions | None],
        method: ImageMethod,
    ) -> ProductExplanation:
        text, image = found
        parts = self._weights(text is not None, image is not None)
        places = np.searchsorted(columns_K, asked.columns)
        categories = []
        for column, place in zip(asked.columns.tolist(), places.tolist(), strict=True):
            text_base = parts.text_mean_C[column] if text is None else text.base_K[place]
            image_base = parts.image_mean_C[column] if image is None else image.base_K[place]
            text_weight, image_weight = parts.text_weight_C[column], parts.image_weight_C[column]
            base = text_weight * text_base + image_weight * image_base + parts.bias_C[column]
            categories.append(
                CategoryExplanation(
                    column=column,
                    base_value=float(base),
                    value=float(asked.logits_C[column]),
                    text_W=np.zeros(0) if text is None else text_weight * text.values_WK[:, place],
                    image_RQ=None if image is None else image_weight * image.values_RQK[..., place],
                )
            )
        return ProductExplanation(
            words=() if text is None else text.words,
            categories=tuple(categories),
            text_method=None if text is None or self._text is None else self._text.method,
            image_method=None if image is None else self._image[method].method,
            square=None if image is None else self._locate(asked.product),
            image_reason=asked.image_reason,
            num_evaluations=sum(each.num_evaluations for each in found if each is not None),
        )

    def _locate(self, product: Product) -> SquareOnPicture | None:
        image = self._network.image
        if image is None or product.image is None:
            return None
        return locate_square(product.image, image.image_size, image.resize)

    def _weights(self, has_text: bool, has_image: bool) -> "_Weights":
        fusion, presence = self._network, Presence.of(has_text, has_image)
        temperature = fusion.temperature_3[presence]
        return _Weights(
            text_weight_C=_numpy(fusion.text_weight_3C[presence] / temperature),
            image_weight_C=_numpy(fusion.image_weight_3C[presence] / temperature),
            bias_C=_numpy(fusion.bias_3C[presence] / temperature),
            text_mean_C=_numpy(fusion.text_mean_C),
            image_mean_C=_numpy(fusion.image_mean_C),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    product: Product
    columns: NDArray[np.int64]
    logits_C: NDArray[np.float32]
    image_reason: ImageReason | None


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """What the fusion does to the evidence of a product that has certain modalities; all float64."""

    text_weight_C: NDArray[np.float64]
    image_weight_C: NDArray[np.float64]
    bias_C: NDArray[np.float64]
    text_mean_C: NDArray[np.float64]
    image_mean_C: NDArray[np.float64]


def _numpy(tensor_C: Tensor) -> NDArray[np.float64]:
    array_C: NDArray[np.float64] = tensor_C.double().cpu().numpy()
    return array_C


def exact_text_explainer(encoder: TextEncoder) -> TextExplainer | None:
    """What explains an encoder exactly; None where no closed form is known."""
    exact = TEXT_EXPLAINERS.get(encoder.kind)
    return None if exact is None else exact(encoder)
