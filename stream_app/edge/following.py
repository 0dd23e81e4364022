"""Follows the topics of results: from a bounded number of records before their ends on, without a group."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from stream_app.batching import Record

__all__ = ["Follower"]

logger = logging.getLogger(__name__)

POLL_MS: Final = 250
MAX_RECORDS: Final = 500
"""Read at a time: decoding them holds the event loop for some 10 ms."""
PARTITIONS_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 1.0


class Follower:
    """Hands over every record of some topics, in order within a partition; `run` keeps at it.

    Args:
        connection: aiokafka arguments.
        topics: which exist.
        num_past: about how many of the latest records of each topic are read first.
        on_record: takes each.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topics: Sequence[str],
        *,
        num_past: int,
        on_record: Callable[[Record], None],
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._num_past = num_past
        self._on_record = on_record
        self._positions: dict[KafkaPartition, int] = {}
        self._behind: dict[KafkaPartition, int] = {}
        self._has_begun = False
        self.has_caught_up = False
        """Whether what was there at the start has been read."""

    async def run(self) -> None:
        """Read until cancelled; a consumer that fails is replaced by another that goes on where it was."""
        while True:
            consumer = AIOKafkaConsumer(
                **self._connection,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                metadata_max_age_ms=int(PARTITIONS_SECONDS * 1000),
            )
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await consumer.start()
                await self._follow(consumer)
            except (KafkaError, OSError, TimeoutError, ValueError) as error:
                logger.warning("results cannot be read: %r; trying again", error)
            finally:
                await consumer.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        clock = asyncio.get_running_loop().time
        await self._assign(consumer)
        looked_at = clock()
        while True:
            for partition, records in (
                await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
            ).items():
                for record in records:
                    self._on_record(record)
                self._positions[partition] = records[-1].offset + 1
            if not self.has_caught_up:
                await self._look_whether_past_is_read(consumer)
            if clock() - looked_at > PARTITIONS_SECONDS:
                looked_at = clock()
                if await self._partitions(consumer) != set(consumer.assignment()):
                    await self._assign(consumer)

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        """Take all partitions; those that are new begin with the past that is wanted.

        A partition that is added to a topic that is followed has no past that was missed: it is read whole.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            partitions = sorted(await self._partitions(consumer))
            consumer.assign(partitions)
            begins = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
        self._behind = {each: end for each, end in self._behind.items() if each in begins}
        num_partitions = Counter(partition.topic for partition in partitions)
        for partition in partitions:
            start = self._positions.get(partition)
            if start is None:
                share = -(-self._num_past // num_partitions[partition.topic])
                start = begins[partition] if self._has_begun else ends[partition] - share
            # A topic that was made anew is shorter than it was.
            start = begins[partition] if start > ends[partition] else max(start, begins[partition])
            consumer.seek(partition, start)
            self._positions[partition] = start
            if start < ends[partition] and not self._has_begun:
                self._behind[partition] = ends[partition]
        self._has_begun = True

    async def _look_whether_past_is_read(self, consumer: AIOKafkaConsumer) -> None:
        for partition in tuple(self._behind):
            # Positions, not records: compaction and transactions leave gaps before the end.
            if await consumer.position(partition) >= self._behind[partition]:
                del self._behind[partition]
        self.has_caught_up = not self._behind

    async def _partitions(self, consumer: AIOKafkaConsumer) -> set[KafkaPartition]:
        found = set()
        for topic in self._topics:
            numbers = await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 - of topics not yet assigned
            found |= {KafkaPartition(topic, number) for number in numbers}
        return found
