"""What came before: the latest assignments, and listings that are found through them.

Nothing is kept twice. A category-assigned record names the event and the place of its listing, so the latest
of them are an index, and the listing itself is read again from its topic. Both live as long as Kafka keeps
them, also when workers restart. The index is brought up to date when somebody asks, not before.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from schemas.codec import decode
from schemas.corrections import CategoryCorrected
from schemas.errors import UnknownEventError
from schemas.products import ProductListed
from stream_app.assignment_index import Assigned, AssignmentIndex
from stream_app.batching import Record
from stream_app.errors import FatalError
from stream_app.places import Place
from stream_app.stages import origin

logger = logging.getLogger(__name__)

POLL_MS = 1_000
READ_SECONDS = 10.0
RETRY_SECONDS = 1.0

T = TypeVar("T")


def listing_of(event_id: str, found: Mapping[str, Record], *, max_bytes: int) -> ProductListed:
    """The listing of an event, of what `RecentListings.find` has found.

    Raises:
        UnknownEventError: it is not there.
        MessageError: what is there is no listing.
    """
    record = found.get(event_id)
    listing = None
    if record is not None and record.value is not None:
        listing = decode(
            ProductListed, record.value, record.headers, default_event_id=origin(record), max_bytes=max_bytes
        )
    if listing is None or listing.event_id != event_id:
        raise UnknownEventError(
            f"event {event_id[:80]!r} is not among the latest that were classified, or its listing is no "
            "longer kept; send the product itself"
        )
    return listing


class RecentListings:
    """Reads assignments, and the listings of events, from Kafka.

    Args:
        assigned_topic: where the assignments are.
        max_events: how many of the latest are searched.
        connection: aiokafka arguments.
        partitions_of: tells the partitions of a topic.
    """

    def __init__(
        self,
        assigned_topic: str,
        max_events: int,
        connection: Mapping[str, Any],
        *,
        partitions_of: Callable[[str], Awaitable[Collection[int]]],
    ) -> None:
        self._topic = assigned_topic
        self._partitions_of = partitions_of
        self._max_events = max_events
        self._connection = connection
        self._index = AssignmentIndex(max_events)
        self._next_offset: dict[KafkaPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.stop()

    async def find(self, events: Mapping[str, Place | None]) -> dict[str, Record]:
        """The records of the listings of events, those that are still there.

        Args:
            events: their ids, and where their listings stand where that is known.

        Raises:
            aiokafka.errors.KafkaError: the brokers cannot be read.
            TimeoutError: they do not answer.
        """
        async with self._lock:
            if any((place or self._index.place(event_id)) is None for event_id, place in events.items()):
                await self._catch_up()
            found = {}
            for event_id, told in events.items():
                place = told or self._index.place(event_id)
                record = None if place is None else await self._read(place)
                if record is not None:
                    found[event_id] = record
            return found

    async def assigned(self, corrections: Sequence[CategoryCorrected]) -> list[Assigned | None]:
        """The assignments that corrections are about, in order; None where it is not among the latest.

        Raises:
            aiokafka.errors.KafkaError: the brokers cannot be read.
            TimeoutError: they do not answer.
        """
        async with self._lock:
            if any(self._wants_the_latest(each) or not self._index.about(each) for each in corrections):
                await self._catch_up()
            return [self._index.about(each) for each in corrections]

    async def patiently(
        self, ask: Callable[[], Awaitable[T]], *, seconds: float, on_retry: Callable[[], None]
    ) -> T:
        """An answer of `find` or `assigned`; brokers that are away are waited for.

        Args:
            ask: gives the answer.
            seconds: the longest wait.
            on_retry: called before another try.

        Raises:
            FatalError: they did not come back in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await ask()
            except (KafkaError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise FatalError(f"what came before cannot be read again: {error!r}") from error
                logger.warning("what came before cannot be read again yet: %r", error)
            await self.stop()
            on_retry()
            await asyncio.sleep(RETRY_SECONDS)

    @staticmethod
    def _wants_the_latest(correction: CategoryCorrected) -> bool:
        """Whether it names its product only, which may have been assigned again meanwhile."""
        return correction.assignment_id is None and correction.event_id is None

    async def _catch_up(self) -> None:
        """Read the categories that came since the last time, at most the latest ``max_events``."""
        if not self._max_events:
            return
        consumer = await self._connected()
        numbers = await self._partitions_of(self._topic)
        partitions = [KafkaPartition(self._topic, number) for number in sorted(numbers)]
        if not partitions:
            return
        firsts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        share = -(-self._max_events // len(partitions))
        starts = {
            each: max(self._next_offset.get(each, 0), firsts[each], ends[each] - share) for each in partitions
        }
        behind = [each for each in partitions if starts[each] < ends[each]]
        if not behind:
            return
        consumer.assign(behind)
        for each in behind:
            consumer.seek(each, starts[each])
        async with asyncio.timeout(READ_SECONDS + self._max_events / 5_000):
            for each in behind:
                while await consumer.position(each) < ends[each]:
                    for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                        # Thousands of categories at once, each to be decoded: not on the loop.
                        await asyncio.to_thread(self._index.add, records)
        self._next_offset.update({each: ends[each] for each in behind})

    async def _read(self, place: Place) -> Record | None:
        """The record at a place that anybody may have named; None where there is none."""
        topic, partition, offset = place
        where = KafkaPartition(topic, partition)
        if partition not in await self._partitions_of(topic):
            return None
        consumer = await self._connected()
        if offset >= (await consumer.end_offsets([where]))[where]:
            return None
        consumer.assign([where])
        consumer.seek(where, offset)
        try:
            async with asyncio.timeout(READ_SECONDS):
                while await consumer.position(where) <= offset:
                    batches = await consumer.getmany(where, timeout_ms=POLL_MS, max_records=1)
                    for record in batches.get(where, ()):
                        return record if record.offset == offset else None
        except OffsetOutOfRangeError:
            return None
        return None

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._connection, enable_auto_commit=False, auto_offset_reset="none"
            )
            try:
                await consumer.start()
            except KafkaError:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer
