"""The golden set of a version: a few products with the logits they had when the version was written.

Whoever loads the version scores them again: equal logits say that the weights, the preprocessing, the
libraries and the device together still are the model that was measured.
"""

import base64
import binascii
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from models.errors import BundleError, ImageError, refused_as
from models.fusion import FusionNetwork
from models.image.decoding import ImageLimits, decode_image
from models.inputs import Product
from models.labels import Code, LabelSet
from models.preprocessing import Preprocessor

__all__ = ["MIN_GOLDEN_PRODUCTS", "GoldenSet", "pick_golden_products"]

MIN_GOLDEN_PRODUCTS: Final = 8

_PICTURE_SIZE_PX: Final = 96
_LOGIT_DECIMALS: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class GoldenSet:
    """B products and their calibrated logits, float32 (B, C), for the codes in `codes`."""

    products: tuple[Product, ...]
    codes: tuple[Code, ...]
    logits_BC: NDArray[np.float32]

    @classmethod
    def record(cls, network: FusionNetwork, labels: LabelSet, products: Sequence[Product]) -> Self:
        """The golden set of a network as it is now.

        Raises:
            BundleError: there are fewer than 8 products.
        """
        if len(products) < MIN_GOLDEN_PRODUCTS:
            raise BundleError(
                f"{len(products)} golden products are too few, at least {MIN_GOLDEN_PRODUCTS} are needed"
            )
        return cls(tuple(products), labels.codes, _score(network, products))

    def check_network(self, network: FusionNetwork, labels: LabelSet, tolerance: float) -> float:
        """Score the products with a network, wherever it lives, and `check` the logits."""
        with refused_as("golden check failed: the products cannot be scored"):
            logits_BC = _score(network, self.products)
        return self.check(labels.codes, logits_BC, tolerance)

    def check(self, codes: Sequence[Code], logits_BC: NDArray[np.float32], tolerance: float) -> float:
        """Compare what the golden products score now with what they scored then.

        Args:
            codes: the category of each column of `logits_BC`.
            logits_BC: float32, what the products score now, in their order.
            tolerance: the largest difference allowed between two logits.

        Returns:
            The largest difference.

        Raises:
            BundleError: other codes, a score that is not finite, or one that differs by more.
        """
        if tuple(codes) != self.codes:
            raise BundleError("golden check failed: its categories are not those of the network")
        difference_BC = np.abs(logits_BC.astype(np.float64) - self.logits_BC)
        if not np.isfinite(difference_BC).all():
            first = int(np.flatnonzero(~np.isfinite(difference_BC).all(axis=1))[0])
            raise BundleError(f"golden check failed: product {first} scores NaN or infinity")
        largest = float(difference_BC.max())
        if largest > tolerance:
            row, column = np.unravel_index(difference_BC.argmax(), difference_BC.shape)
            raise BundleError(
                f"golden check failed: product {row} differs by {largest:.3g} for category "
                f"{self.codes[column]!r}, {tolerance:g} is allowed; this is not the model that was measured"
            )
        return largest

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads; logits are rounded to 6 decimals."""
        return {
            "codes": list(self.codes),
            "products": [
                {
                    "title": product.title,
                    "description": product.description,
                    "image": None if product.image is None else base64.b64encode(product.image).decode(),
                    "logits": [round(float(logit), _LOGIT_DECIMALS) for logit in logits_C],
                }
                for product, logits_C in zip(self.products, self.logits_BC, strict=True)
            ],
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """The golden set that `to_json` wrote.

        Raises:
            BundleError: the document is of another shape.
        """
        try:
            entries = document["products"]
            golden = cls(
                products=tuple(_product(entry) for entry in entries),
                codes=tuple(document["codes"]),
                logits_BC=np.array([entry["logits"] for entry in entries], np.float32),
            )
        except (TypeError, KeyError, ValueError, OverflowError, binascii.Error) as error:
            reason = f"{type(error).__name__}: {str(error)[:80]}"
            raise BundleError(f"golden.json does not hold a golden set ({reason})") from error
        if not entries or golden.logits_BC.shape != (len(entries), len(golden.codes)):
            raise BundleError("golden.json needs at least one product, and one logit a category for each")
        return golden


def pick_golden_products(
    candidates: Iterable[Product], num_products: int = 12, limits: ImageLimits | None = None
) -> tuple[Product, ...]:
    """A golden set's products from the first of `candidates`, small enough to travel with a version.

    Pictures become 96 px PNG, whose decoding is exact everywhere. Of the products with a picture every third
    keeps both modalities, every third only its text and every third only its picture.

    Args:
        candidates: real products; take them from as many categories as there are.
        num_products: how many to take.
        limits: what a picture may be to be decoded.
    """
    chosen = list(islice(candidates, num_products))
    pictured = [product for product in chosen if product.image is not None]
    rest = [product for product in chosen if product.image is None]
    allowed = limits or ImageLimits()
    return (*(_variant(product, turn, allowed) for turn, product in enumerate(pictured)), *rest)


def _variant(product: Product, turn: int, limits: ImageLimits) -> Product:
    picture = _small_png(product.image, limits) if product.image is not None and turn % 3 != 1 else None
    if turn % 3 == 2 and picture is not None:
        return Product(image=picture)
    return Product(product.title, product.description, picture)


def _small_png(picture: bytes, limits: ImageLimits) -> bytes | None:
    try:
        pixels_HWK = decode_image(picture, _PICTURE_SIZE_PX, limits)
    except ImageError:
        return None
    png = io.BytesIO()
    Image.fromarray(pixels_HWK).save(png, "PNG")
    return png.getvalue()


def _product(entry: Any) -> Product:
    image = entry["image"]
    return Product(
        title=str(entry["title"]),
        description=str(entry["description"]),
        image=None if image is None else base64.b64decode(image, validate=True),
    )


def _score(network: FusionNetwork, products: Sequence[Product]) -> NDArray[np.float32]:
    prepared = Preprocessor(network.text, network.image).prepare(products)
    with _evaluating(network), torch.inference_mode():
        logits_BC = network(prepared.to_tensors(network.temperature_3.device))
    scored: NDArray[np.float32] = logits_BC.cpu().numpy()
    return scored


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; parts of a network in training may be in different modes."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
