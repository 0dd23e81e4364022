"""The shadow: a challenger scores a share of what was published, off the hot path, and is only compared.

Nothing of it is published. It has one thread of its own; what that has no time for is dropped, counted, and
never waited for.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import refused_as
from stream_app.inference import LoadedVersion, score_listings
from stream_app.metric_labels import ShadowOutcome
from stream_app.preparing import Picture, prepare_listings
from stream_app.settings import ShadowSettings
from stream_app.stages import Decoded, Listing, Scored

__all__ = ["Comparison", "Offered", "Shadow", "chosen", "compare", "in_share"]

logger = logging.getLogger(__name__)

MAX_WAITING_LISTINGS = 256
MAX_WAITING_BYTES = 32 * 2**20


class ToldOfShadow(Protocol):
    """Where it is told how a challenger agrees with what is served."""

    def shadow_loaded(self, name: str, version: str) -> None:
        """Name the challenger."""

    def shadow_compared(self, num_same: int, confidence_differences: NDArray[np.float64]) -> None:
        """Count events that it scored too."""

    def shadow_left_out(self, outcome: ShadowOutcome, num_events: int) -> None:
        """Count events that were chosen but not compared."""


def in_share(product_id: str, share: float) -> bool:
    """Whether a product is one of the share; the same answer each time, in every worker."""
    return zlib.crc32(product_id.encode("utf-8", "surrogatepass")) < share * 2**32


@dataclass(frozen=True, slots=True)
class Offered:
    """Listings that were assigned a category, and what is needed to score them again.

    Attributes:
        listings: B of them.
        codes: the categories they were assigned.
        confidences: the probabilities of these.
        pictures: by address.
    """

    listings: Sequence[Listing]
    codes: Sequence[int | str]
    confidences: NDArray[np.float32]
    pictures: Mapping[str, Picture]

    @property
    def num_bytes(self) -> int:
        """What it holds of the listings."""
        records = sum(len(each.record.value or b"") for each in self.listings)
        return records + sum(len(each) for each in self.pictures.values() if isinstance(each, bytes))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a challenger made of listings.

    Attributes:
        num_same: how many got the same category.
        confidence_differences: of all that it could score: its probability less the one that was assigned.
        num_failed: how many it could not score.
    """

    num_same: int
    confidence_differences: NDArray[np.float64]
    num_failed: int


def chosen(scored: Scored, pictures: Mapping[str, Picture], share: float) -> Offered | None:
    """The share of a scored batch; None when that is nothing."""
    if scored.scores is None:
        return None
    rows = [row for row, each in enumerate(scored.listings) if in_share(each.product.product_id, share)]
    if not rows:
        return None
    listings = [scored.listings[row] for row in rows]
    urls = {each.product.image.url for each in listings if each.product.image is not None}
    probabilities = scored.scores.probabilities_BC[rows]
    return Offered(
        listings,
        [scored.labels.codes[column] for column in probabilities.argmax(axis=1).tolist()],
        probabilities.max(axis=1),
        {url: pictures[url] for url in urls if url is not None and url in pictures},
    )


def compare(offered: Offered, version: LoadedVersion) -> Comparison:
    """Score listings again, with a challenger.

    Raises:
        BundleError: it cannot be made to.
    """
    with refused_as("it cannot score"):
        prepared = prepare_listings(Decoded(offered.listings), version.classifier, offered.pictures)
        again = score_listings(prepared, version.classifier, version.cap)
    rows = {each.place: row for row, each in enumerate(offered.listings)}
    rows_again = [rows[each.place] for each in again.listings]
    if again.scores is None:
        return Comparison(0, np.empty(0), len(offered.listings))
    probabilities = again.scores.probabilities_BC
    codes = [again.labels.codes[column] for column in probabilities.argmax(axis=1).tolist()]
    before = offered.confidences[rows_again].astype(np.float64)
    return Comparison(
        sum(code == offered.codes[row] for code, row in zip(codes, rows_again, strict=True)),
        probabilities.max(axis=1) - before,
        len(offered.listings) - len(again.listings),
    )


class Shadow:
    """Compares a challenger with what is served.

    Args:
        settings: how much it is shown.
        metrics: where it is told how they agree.
    """

    def __init__(self, settings: ShadowSettings, metrics: ToldOfShadow) -> None:
        self._share = settings.shadow_share
        self._metrics = metrics
        self._waiting: deque[Offered] = deque()
        self._num_listings = self._num_bytes = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._version: LoadedVersion | None = None

    def take(self, version: LoadedVersion) -> None:
        """Compare this version from now on."""
        self._version = version
        self._metrics.shadow_loaded(version.classifier.name, version.classifier.version)

    def offer(self, scored: Scored, pictures: Mapping[str, Picture]) -> None:
        """Take the share of a batch that is published; at once, whatever else goes on."""
        if self._version is None or (offered := chosen(scored, pictures, self._share)) is None:
            return
        num_bytes = offered.num_bytes
        if (
            self._num_listings + len(offered.listings) > MAX_WAITING_LISTINGS
            or self._num_bytes + num_bytes > MAX_WAITING_BYTES
        ):
            self._metrics.shadow_left_out(ShadowOutcome.DROPPED, len(offered.listings))
            return
        self._num_listings += len(offered.listings)
        self._num_bytes += num_bytes
        self._waiting.append(offered)
        self._arrived.set()

    async def run(self) -> None:
        """Score what waits until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting and self._version is not None:
                offered = self._waiting.popleft()
                await self._compare(offered, self._version)
                self._num_listings -= len(offered.listings)
                self._num_bytes -= offered.num_bytes

    async def _compare(self, offered: Offered, version: LoadedVersion) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, compare, offered, version)
        except Exception as error:
            logger.warning("the challenger %s failed: %s: %s", str(version), type(error).__name__, error)
            self._metrics.shadow_left_out(ShadowOutcome.FAILED, len(offered.listings))
            return
        self._metrics.shadow_compared(found.num_same, found.confidence_differences)
        self._metrics.shadow_left_out(ShadowOutcome.FAILED, found.num_failed)

    def stop(self) -> None:
        """Let the thread go; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
