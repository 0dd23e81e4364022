"""From the rows of a catalogue to confirmed product-listed records."""

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.base import derived_id
from schemas.catalogue_rows import CatalogueRow
from schemas.cloudevents import output_headers
from schemas.codec import encode
from schemas.errors import CatalogueError, InvalidMessageError, ShelverError
from schemas.products import ProductListed
from stream_app.acls import Needs, check_access, topic_access, user_of
from stream_app.broker_settings import BrokerSettings
from stream_app.brokers import connection, max_record_bytes, reach
from stream_app.errors import TopicError

EVENT_SOURCE = "/shelver/publish"
MAX_IN_FLIGHT = 2_000
MAX_IN_FLIGHT_BYTES = 32 * 2**20
MAX_BATCH_BYTES = 512 * 1024
DELIVERY_SECONDS = 30.0
STOP_SECONDS = 5.0
BATCH_OVERHEAD_BYTES = 128
MAX_TOLD_FAILURES = 5


class DeliveryError(ShelverError):
    """The brokers stopped taking records, or answering."""


@dataclass(slots=True)
class Progress:
    """How far a publication has come; counts only grow.

    Attributes:
        num_published: Listings that the brokers have confirmed.
        num_failed: Listings that cannot be published, whatever the brokers do.
        failures: What was wrong with the first of those, a line each.
        on_change: Called after each change.
    """

    num_published: int = 0
    num_failed: int = 0
    failures: list[str] = field(default_factory=list)
    on_change: Callable[[], None] = lambda: None

    def confirm(self, num_listings: int) -> None:
        """Count listings that the brokers have confirmed."""
        self.num_published += num_listings
        self.on_change()

    def fail(self, product_id: str, reason: object) -> None:
        """Count a listing that cannot be published."""
        self.num_failed += 1
        if len(self.failures) < MAX_TOLD_FAILURES:
            self.failures.append(f"product {product_id[:80]!r} is not published: {reason}")
        self.on_change()


def listing_of(row: CatalogueRow, *, explain: bool = False) -> ProductListed:
    """The message that lists a product, its picture inside.

    Its event id follows from what the catalogue says about the product: published again, an unchanged product
    carries the same id, and a changed one another.

    Raises:
        CatalogueError: the picture file cannot be read.
        InvalidMessageError: the product id is not fit to be one.
    """
    listing = row.to_listing("-", explain=explain)
    image = listing.image.model_dump() if listing.image else None
    content = json.dumps([listing.product_id, listing.title, listing.description, image])
    digest = hashlib.sha256(content.encode()).hexdigest()
    return listing.model_copy(update={"event_id": derived_id("catalogue", digest)})


class Pace:
    """When the next listing may go out, at an even rate.

    Args:
        per_second: listings a second; None for no limit.
        start: seconds on the clock that ``wait`` is asked with.
    """

    def __init__(self, per_second: float | None, start: float) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._next = start

    def wait(self, now: float) -> float:
        """Seconds until the next listing may go out, each call for one; a pause is not made up for."""
        planned = max(self._next, now - self._interval)
        self._next = planned + self._interval
        return max(0.0, planned - now)


async def publish_catalogue(
    rows: Iterable[CatalogueRow],
    *,
    brokers: BrokerSettings,
    topic: str,
    progress: Progress,
    explain: bool = False,
    per_second: float | None = None,
) -> None:
    """Publish rows and wait until the brokers have confirmed every one of them.

    Memory is bounded by ``MAX_IN_FLIGHT`` records and ``MAX_IN_FLIGHT_BYTES``, whatever the catalogue's size.
    When it is cancelled it still waits ``STOP_SECONDS`` for what has been sent, so that the counts are true.

    Args:
        rows: read as they are sent.
        brokers: where they are, and the credentials.
        topic: where the listings go; it has to exist.
        progress: is kept up to date, also when this raises.
        explain: ask for explanations.
        per_second: listings a second; None for no limit.

    Raises:
        SettingsError: a file with a credential cannot be used.
        AccessError: the brokers turn this client away, or do not allow it to write to the topic.
        TopicError: no broker answers, or the topic does not exist.
        DeliveryError: the brokers stopped taking records; what they have confirmed is in ``progress``.
        CatalogueError: a row cannot be read.
    """
    arguments, broker = connection(brokers), brokers.broker
    limit = await _check_topic(broker, arguments, topic)
    producer = confirming_producer(arguments, limit, seconds=DELIVERY_SECONDS)
    deliveries = _Deliveries(progress)
    try:
        await producer.start()
        pace = Pace(per_second, time.monotonic())
        for row in rows:
            await asyncio.sleep(pace.wait(time.monotonic()))
            try:
                await _send(listing_of(row, explain=explain), producer, topic, deliveries)
            except (CatalogueError, InvalidMessageError) as error:
                progress.fail(row.product_id, error)
            except MessageSizeTooLargeError:
                progress.fail(row.product_id, f"it is larger than the {limit} bytes that {topic} takes")
        await deliveries.settle()
    except (KafkaError, TimeoutError) as error:
        raise DeliveryError(
            f"{broker} stopped taking listings ({type(error).__name__}); publish again when it is back: an"
            " unchanged product carries the same event_id"
        ) from error
    finally:
        await _close(producer, deliveries)


async def _check_topic(broker: str, arguments: Mapping[str, Any], topic: str) -> int:
    """The largest record the topic takes, in bytes, less what a batch adds to it."""
    async with reach(broker, arguments) as admin, asyncio.timeout(DELIVERY_SECONDS):
        topics = await topic_access(admin, [topic])
        await check_access(admin, Needs.of(writes=[topic]), topics, user_of(arguments))
        limit = await max_record_bytes(admin, topic) if topics[topic].exists else 0
    if not topics[topic].exists:
        raise TopicError(
            f"there is no topic {topic!r} at {broker}; start `shelver worker`, which creates it, or name"
            " another with --topic"
        )
    return limit - BATCH_OVERHEAD_BYTES


def confirming_producer(arguments: Mapping[str, Any], limit: int, *, seconds: float) -> AIOKafkaProducer:
    """A producer of single records that all brokers confirm, in order and without duplicates of its own.

    Args:
        arguments: of `stream_app.brokers.connection`.
        limit: the largest record, in bytes.
        seconds: the longest wait for an answer.
    """
    return AIOKafkaProducer(
        **arguments,
        enable_idempotence=True,
        acks="all",
        linger_ms=5,
        max_batch_size=min(MAX_BATCH_BYTES, limit),
        # A record that the brokers refuse would leave a gap in the sequence of an idempotent producer, which
        # aiokafka 0.14 does not close: all later ones would fail. So it is refused here.
        max_request_size=limit,
        request_timeout_ms=int(seconds * 1000),
    )


async def _send(
    listing: ProductListed, producer: AIOKafkaProducer, topic: str, deliveries: "_Deliveries"
) -> None:
    value = encode(listing)
    await deliveries.make_room(len(value))
    headers = output_headers(listing, source=EVENT_SOURCE)
    delivery = await producer.send(topic, value, key=listing.product_id.encode(), headers=headers)
    deliveries.add(delivery, len(value))


async def _close(producer: AIOKafkaProducer, deliveries: "_Deliveries") -> None:
    """Give what has been sent a last chance, count it, and disconnect."""
    await deliveries.settle_within(STOP_SECONDS)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError):
        await producer.client.close()


class _Deliveries:
    """Records on their way, oldest first, bounded in number and bytes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pending: deque[tuple[asyncio.Future[Any], int]] = deque()
        self._num_bytes = 0

    def add(self, delivery: asyncio.Future[Any], num_bytes: int) -> None:
        self._pending.append((delivery, num_bytes))
        self._num_bytes += num_bytes

    async def make_room(self, num_bytes: int) -> None:
        """Wait for the oldest deliveries until a record of this size may be added."""
        while self._pending and (
            len(self._pending) >= MAX_IN_FLIGHT or self._num_bytes + num_bytes > MAX_IN_FLIGHT_BYTES
        ):
            await self._confirm_oldest()
        self._count_confirmed()

    async def settle(self) -> None:
        """Wait for all of them."""
        while self._pending:
            await self._confirm_oldest()

    async def settle_within(self, seconds: float) -> None:
        """Wait for all of them for so long, and count those that were confirmed."""
        if not self._pending:
            return
        done, _ = await asyncio.wait([delivery for delivery, _ in self._pending], timeout=seconds)
        self._pending.clear()
        self._progress.confirm(sum(not d.cancelled() and d.exception() is None for d in done))

    async def _confirm_oldest(self) -> None:
        delivery, _ = self._pending[0]
        # Batches of an idempotent producer never expire, so the wait has to. Shielded, because giving up the
        # wait must not cancel the delivery, which may still be counted.
        async with asyncio.timeout(DELIVERY_SECONDS):
            await asyncio.shield(delivery)
        self._count_confirmed()

    def _count_confirmed(self) -> None:
        counted = 0
        while self._pending and self._pending[0][0].done():
            self._pending[0][0].result()
            self._num_bytes -= self._pending.popleft()[1]
            counted += 1
        if counted:
            self._progress.confirm(counted)
