"""From products to what a network takes: the one preprocessing, for training and for serving."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError, ImageReason
from models.evidence_cache import (
    EvidenceCache,
    Known,
    KnownEvidence,
    Modality,
    digest_of_picture,
    digest_of_text,
)
from models.image.base import ImageEncoder
from models.image.decoding import ImageLimits, Resize, decode_image
from models.inputs import PreparedBatch, Product, SharedEvidence, SharedTexts, TextFeatures
from models.text.base import TextEncoder

__all__ = ["Preprocessor"]

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
            return PreparedBatch.of_texts(self._featurize(products))
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
        self, products: Sequence[Product], cache: EvidenceCache, executor: Executor | None = None
    ) -> PreparedBatch:
        """As `prepare`, but of contents that are the same one is prepared, and none that is known.

        Pictures that can never be used are made known here, other contents when they are scored.

        Args:
            products: B of them; may be none.
            cache: what is known, of a version with this preprocessor.
            executor: as for `prepare`.
        """
        if self._image_size is None:
            return PreparedBatch.of_texts(*self._compare_texts(products, cache))
        files = {row: product.image for row, product in enumerate(products) if product.image is not None}
        digests = {row: digest_of_picture(data) for row, data in files.items()}
        known = cache.look_up(Modality.IMAGE, [*digests.values()])
        new = {digest: files[row] for row, digest in digests.items() if digest not in known}
        run: Callable[..., Iterable[Picture]] = map if executor is None else executor.map
        until = self._clock() + self._limits.max_batch_seconds
        decoding = run(
            lambda digest: self._decode(
                new[digest], until, on_lasting=lambda reason: cache.keep_reason(digest, reason)
            ),
            new,
        )
        text, shared_texts = self._compare_texts(products, cache)
        found: dict[bytes, Picture | Known] = {**dict(zip(new, decoding, strict=True)), **known}
        pixels = {digest: each for digest, each in found.items() if isinstance(each, np.ndarray)}
        evidence = {
            digest: each.evidence_C for digest, each in known.items() if isinstance(each, KnownEvidence)
        }
        rows = [row for row, digest in digests.items() if digest in pixels or digest in evidence]
        return PreparedBatch(
            text=text,
            pixels_NHWK=_stack([*pixels.values()], self._image_size),
            image_rows_N=np.array(rows, np.int64),
            image_reasons=tuple(
                _reason(found[digests[row]] if row in digests else product.image_reason)
                for row, product in enumerate(products)
            ),
            shared_texts=shared_texts,
            shared_pictures=SharedEvidence.of([digests[row] for row in rows], pixels, evidence),
        )

    def _compare_texts(
        self, products: Sequence[Product], cache: EvidenceCache
    ) -> tuple[TextFeatures, SharedTexts | None]:
        """The texts to compute, and what all share; without a text encoder none is read."""
        if self._text is None:
            return TextFeatures.absent(len(products)), None
        digests = [digest_of_text(product.title, product.description) for product in products]
        found = cache.look_up(Modality.TEXT, digests)
        known = {digest: each for digest, each in found.items() if isinstance(each, KnownEvidence)}
        new = {
            digest: product for digest, product in zip(digests, products, strict=True) if digest not in known
        }
        text = self._featurize([*new.values()])
        evidence = SharedEvidence.of(
            digests, new, {digest: each.evidence_C for digest, each in known.items()}
        )
        present, truncated = (
            np.concatenate([computed, np.array(of_known, np.bool_)])[evidence.places_N]
            for computed, of_known in (
                (text.present_B, [each.present for each in known.values()]),
                (text.truncated_B, [each.truncated for each in known.values()]),
            )
        )
        return text, SharedTexts(evidence, present, truncated)

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


def _reason(picture: Picture | Known | None) -> ImageReason | None:
    return picture if isinstance(picture, ImageReason) else None
