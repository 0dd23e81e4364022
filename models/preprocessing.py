"""From products to what a network takes: the one preprocessing, for training and for serving."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError, ImageReason
from models.image.base import ImageEncoder
from models.image.decoding import ImageLimits, Resize, decode_image
from models.inputs import PreparedBatch, Product, SharedPictures, TextFeatures
from models.picture_cache import KnownPicture, PictureCache, digest_of
from models.text.base import TextEncoder

__all__ = ["Preprocessor"]

Number = TypeVar("Number", bound=np.generic)

Picture = NDArray[np.uint8] | ImageReason
"""The pixels of a picture, or why there are none."""


class Preprocessor:
    """Prepares products for a model of a text encoder, an image encoder or both.

    Holds no state of its own: any number of threads may share one. A product comes out the same alone and in
    any batch, unless the pictures of the batch take longer than all pictures may.

    Args:
        text: reads titles and descriptions, if any.
        image: says what pictures are to be brought to, if any.
        limits: how much work pictures may be.
        clock: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        text: TextEncoder | None,
        image: ImageEncoder | None,
        limits: ImageLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._text = text
        self._image_size = None if image is None else image.image_size
        self._resize = Resize.FIT if image is None else image.resize
        self._limits = limits or ImageLimits()
        self._clock = clock

    def prepare(self, products: Sequence[Product], executor: Executor | None = None) -> PreparedBatch:
        """B products as arrays, in their order; never fails because of what is in one of them.

        A picture that cannot be used leaves its product without one, and its reason in `image_reasons`. A
        model without an image encoder looks at no picture and gives no reasons; one without a text encoder
        reads no text.

        Args:
            products: B of them; may be none.
            executor: decodes pictures in its threads while this one reads the texts; it must not be the one
                whose thread this is. Without it pictures are decoded here, one after the other.
        """
        if self._image_size is None:
            return PreparedBatch(
                text=self._featurize(products),
                pixels_NHWK=_stack([], size_px=0),
                image_rows_N=np.zeros(0, np.int64),
                image_reasons=(None,) * len(products),
            )
        run: Callable[..., Iterable[Picture]] = map if executor is None else executor.map
        rows = [row for row, product in enumerate(products) if product.image is not None]
        until = self._clock() + self._limits.max_batch_seconds
        decoding = run(lambda data: self._decode(data, until), [products[row].image for row in rows])
        text = self._featurize(products)
        pictures = dict(zip(rows, decoding, strict=True))
        usable = {row: pixels for row, pixels in pictures.items() if isinstance(pixels, np.ndarray)}
        return PreparedBatch(
            text=text,
            pixels_NHWK=_stack([*usable.values()], self._image_size),
            image_rows_N=np.array([*usable], np.int64),
            image_reasons=tuple(
                _reason(pictures.get(row, product.image_reason)) for row, product in enumerate(products)
            ),
        )

    def prepare_to_score(
        self, products: Sequence[Product], cache: PictureCache, executor: Executor | None = None
    ) -> PreparedBatch:
        """As `prepare`, but of pictures whose files are the same one is decoded, and none that is known.

        Pictures that can never be used are made known here, those that can when they are scored.

        Args:
            products: B of them; may be none.
            cache: what is known, of a version with this preprocessor.
            executor: as for `prepare`.
        """
        if self._image_size is None:
            return self.prepare(products)
        files = {row: product.image for row, product in enumerate(products) if product.image is not None}
        digests = {row: digest_of(data) for row, data in files.items()}
        known = cache.look_up([*digests.values()])
        new = {digest: files[row] for row, digest in digests.items() if digest not in known}
        run: Callable[..., Iterable[Picture]] = map if executor is None else executor.map
        until = self._clock() + self._limits.max_batch_seconds
        decoding = run(
            lambda digest: self._decode(
                new[digest], until, on_lasting=lambda reason: cache.keep_reason(digest, reason)
            ),
            new,
        )
        text = self._featurize(products)
        decoded = dict(zip(new, decoding, strict=True))
        pixels, evidence = _arrays(decoded), _arrays(known)
        places = {digest: place for place, digest in enumerate([*pixels, *evidence])}
        usable = {row: places[digest] for row, digest in digests.items() if digest in places}
        found: dict[bytes, Picture | KnownPicture] = {**decoded, **known}
        return PreparedBatch(
            text=text,
            pixels_NHWK=_stack([*pixels.values()], self._image_size),
            image_rows_N=np.array([*usable], np.int64),
            image_reasons=tuple(
                _reason(found[digests[row]] if row in digests else product.image_reason)
                for row, product in enumerate(products)
            ),
            shared=SharedPictures(
                places_N=np.array([*usable.values()], np.int64),
                digests_U=tuple(pixels),
                known_M=tuple(evidence.values()),
            ),
        )

    def _featurize(self, products: Sequence[Product]) -> TextFeatures:
        if self._text is None:
            return TextFeatures.absent(len(products))
        return self._text.featurize([(product.title, product.description) for product in products])

    def _decode(
        self, data: bytes, until: float, *, on_lasting: Callable[[ImageReason], None] = lambda _reason: None
    ) -> Picture:
        if self._clock() > until:
            return ImageReason.TIMEOUT
        try:
            return decode_image(data, self._image_size or 0, self._limits, self._resize)
        except ImageError as error:
            if not isinstance(error.__cause__, MemoryError):
                on_lasting(error.reason)
            return error.reason


def _stack(pictures: Sequence[NDArray[np.uint8]], size_px: int) -> NDArray[np.uint8]:
    return np.stack(pictures) if pictures else np.zeros((0, size_px, size_px, 3), np.uint8)


def _arrays(pictures: Mapping[bytes, NDArray[Number] | ImageReason]) -> dict[bytes, NDArray[Number]]:
    return {digest: found for digest, found in pictures.items() if isinstance(found, np.ndarray)}


def _reason(picture: Picture | KnownPicture | None) -> ImageReason | None:
    return picture if isinstance(picture, ImageReason) else None
