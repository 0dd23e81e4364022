"""From products to what a network takes: the one preparation of training and serving."""

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError, ImageReason
from models.image.base import ImageEncoder
from models.image.decoding import ImageLimits, decode_image
from models.inputs import PreparedBatch, Product, TextFeatures
from models.text.base import TextEncoder

__all__ = ["Preprocessor"]

Picture = NDArray[np.uint8] | ImageReason | None


class Preprocessor:
    """Cleans and featurises texts, decodes and resizes pictures; may be used from any number of threads.

    Args:
        text: the text encoder of the model, or None for one that reads no text.
        image: its image encoder, or None for one that looks at no picture: pictures are skipped unread.
        limits: how much work one picture may be.
    """

    def __init__(
        self, text: TextEncoder | None, image: ImageEncoder | None, limits: ImageLimits | None = None
    ) -> None:
        self._text = text
        self._image = image
        self._limits = limits or ImageLimits()

    def prepare(self, products: Sequence[Product], executor: Executor | None = None) -> PreparedBatch:
        """Prepare B products, row for row; an unusable picture leaves its reason and its product the text.

        Args:
            products: any number of them.
            executor: threads to decode pictures in, which Pillow does without Python's lock.
        """
        in_turn = map if executor is None else executor.map
        pictures = list(in_turn(self._picture, products))
        present = [row for row, picture in enumerate(pictures) if isinstance(picture, np.ndarray)]
        return PreparedBatch(
            text=self._featurize(products),
            pixels_NHWK=self._stack([pictures[row] for row in present]),
            image_rows_N=np.array(present, np.int64),
            image_reasons=tuple(each if isinstance(each, ImageReason) else None for each in pictures),
        )

    def _featurize(self, products: Sequence[Product]) -> TextFeatures:
        if self._text is None:
            return TextFeatures.absent(len(products))
        return self._text.featurize([(product.title, product.description) for product in products])

    def _picture(self, product: Product) -> Picture:
        if self._image is None:
            return None
        if product.image is None:
            return product.image_reason
        try:
            return decode_image(product.image, self._image.image_size, self._limits)
        except ImageError as error:
            return error.reason

    def _stack(self, pictures: Sequence[Picture]) -> NDArray[np.uint8]:
        if pictures:
            return np.stack([picture for picture in pictures if isinstance(picture, np.ndarray)])
        size = 0 if self._image is None else self._image.image_size
        return np.zeros((0, size, size, 3), np.uint8)
