"""Listings without a picture are not kept waiting by those with one; results of one product keep their order.

A batch is split by how long its listings take: those without a picture are classified and sent by themselves,
beside the rest of their batch and of batches before. A listing of a product that has a picture to wait for
goes, or waits, with it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stream_app.lanes import Turn
from stream_app.stages import Decoded, Listing


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a batch that is classified and sent by itself, when it is its turn."""

    decoded: Decoded
    turn: Turn


class Overtaking:
    """Splits the batches of a lane, one after the other in the order they came.

    Not thread-safe: it belongs to the event loop of the service.
    """

    def __init__(self) -> None:
        self._last_texts: Turn | None = None
        self._last_pictures: Turn | None = None
        self._behind: Counter[str] = Counter()
        """Of each product, the parts with pictures that hold it and are not sent yet."""

    def split(self, decoded: Decoded) -> list[Part]:
        """One part or two: what is rejected goes with the first."""
        waiting = {each.product.product_id for each in decoded.listings if each.product.image is not None}
        if not waiting:
            return [self._texts(decoded)]
        pictures = [each for each in decoded.listings if each.product.product_id in waiting]
        if len(pictures) == len(decoded.listings):
            return [self._pictures(decoded, waiting)]
        texts = [each for each in decoded.listings if each.product.product_id not in waiting]
        return [self._texts(replace(decoded, listings=texts)), self._pictures(Decoded(pictures), waiting)]

    def _texts(self, decoded: Decoded) -> Part:
        behind = self._last_pictures if self._has_to_wait(decoded.listings) else None
        self._last_texts = Turn(self._last_texts, behind)
        return Part(decoded, self._last_texts)

    def _pictures(self, decoded: Decoded, products: Iterable[str]) -> Part:
        products = tuple(products)
        self._behind.update(products)
        self._last_pictures = Turn(
            self._last_pictures, self._last_texts, on_over=lambda: self._let_go(products)
        )
        return Part(decoded, self._last_pictures)

    def _has_to_wait(self, listings: Iterable[Listing]) -> bool:
        return bool(self._behind) and any(each.product.product_id in self._behind for each in listings)

    def _let_go(self, products: Iterable[str]) -> None:
        self._behind.subtract(products)
        self._behind += Counter()
