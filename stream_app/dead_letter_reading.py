"""The dead-letter topic from its beginning to the end it has now, in constant memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_app.acls import Needs, check_access, topic_access, user_of
from stream_app.broker_settings import BrokerSettings
from stream_app.brokers import Connection, connection, reach
from stream_app.catalogue_publishing import DeliveryError
from stream_app.errors import TopicError
from stream_app.topic_ids import topic_ids

ANSWER_SECONDS = 30.0
POLL_MS = 500
FETCH_RECORDS = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Letters:
    """A consumer of the dead-letter topic, and what is known of it.

    Attributes:
        consumer: at the start of each partition.
        starts: first offset that is wanted, by partition.
        ends: offset behind the last letter, by partition.
        topic_id: another one when the topic is deleted and made anew; None where brokers know no ids.
        broker: the address as the user gave it.
        arguments: of `stream_app.brokers.connection`.
    """

    consumer: AIOKafkaConsumer
    starts: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]
    topic_id: str | None
    broker: str
    arguments: Connection

    @property
    def num_letters(self) -> int:
        """How many there are to read; fewer where compaction or transactions left gaps."""
        return sum(max(0, end - self.starts[partition]) for partition, end in self.ends.items())


@asynccontextmanager
async def open_letters(
    brokers: BrokerSettings,
    topic: str,
    *,
    since: datetime | None = None,
    group: str | None = None,
    writes: Collection[str] = (),
) -> AsyncIterator[Letters]:
    """The dead letters as they are now, to be read with `read`.

    Args:
        brokers: where they are, and how to come in.
        topic: the dead-letter topic.
        since: skip what was written before.
        group: whose offsets will be read and committed; it is not joined.
        writes: topics that will be written to; they have to exist, too.

    Raises:
        TopicError: no broker answers, or a topic does not exist.
        AccessError: the brokers turn this client away, or do not allow what it needs.
    """
    broker, arguments = brokers.broker, connection(brokers)
    needs = Needs.of(reads=[topic], writes=writes, group=group)
    async with reach(broker, arguments) as admin:
        await _check(admin, needs, broker, user_of(arguments))
        described = await admin.describe_topics([topic])
        ids = await topic_ids(admin._client, [topic])  # noqa: SLF001 - it knows no such request
    partitions = [TopicPartition(topic, each["partition"]) for each in described[0]["partitions"]]
    consumer = AIOKafkaConsumer(
        **arguments, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await consumer.start()
                consumer.assign(partitions)
                ends = await consumer.end_offsets(partitions)
                starts = await _starts(consumer, ends, since)
        except (KafkaError, TimeoutError) as error:
            raise TopicError(f"{topic!r} at {broker} cannot be read ({error!r}); try again") from error
        for partition, start in starts.items():
            consumer.seek(partition, start)
        yield Letters(consumer, starts, ends, ids.get(topic), broker, arguments)
    finally:
        await consumer.stop()


async def _check(admin: AIOKafkaAdminClient, needs: Needs, broker: str, who: str) -> None:
    topics = await topic_access(admin, list(needs.topics))
    await check_access(admin, needs, topics, who)
    if missing := [name for name in needs.topics if not topics[name].exists]:
        raise TopicError(
            f"there is no topic {', '.join(missing)} at {broker}; `shelver worker` creates it, or name"
            " another with its SHELVER_..._TOPIC"
        )


async def _starts(
    consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int], since: datetime | None
) -> dict[TopicPartition, int]:
    if since is None:
        return dict(await consumer.beginning_offsets(list(ends)))
    # Kafka knows no time before 1970.
    moment = max(0, int(since.timestamp() * 1000))
    found = await consumer.offsets_for_times(dict.fromkeys(ends, moment))
    return {each: place.offset if place else ends[each] for each, place in found.items()}


async def read(letters: Letters) -> AsyncGenerator[ConsumerRecord]:
    """Every letter up to the end, in order within a partition; who reads may take any time between two.

    Raises:
        DeliveryError: the brokers stop answering.
    """
    consumer, clock = letters.consumer, asyncio.get_running_loop().time
    waiting = {partition for partition, end in letters.ends.items() if letters.starts[partition] < end}
    silent_seconds = 0.0
    while waiting:
        asked_at = clock()
        batches = await _answer(consumer.getmany(*waiting, timeout_ms=POLL_MS, max_records=FETCH_RECORDS))
        silent_seconds = 0.0 if batches else silent_seconds + clock() - asked_at
        for partition, records in batches.items():
            for record in records:
                if record.offset < letters.ends[partition]:
                    yield record
        # Positions, not records: compaction and transactions leave gaps before the end.
        for partition in tuple(waiting):
            if await _answer(consumer.position(partition)) >= letters.ends[partition]:
                waiting.discard(partition)
        if waiting and silent_seconds > ANSWER_SECONDS:
            raise _silent(f"nothing for {silent_seconds:.0f} s")


async def _answer(question: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await question
    except (KafkaError, TimeoutError) as error:
        raise _silent(repr(error)) from error


def _silent(why: str) -> DeliveryError:
    return DeliveryError(f"the brokers stopped answering while dead letters were read ({why}); try again")
