"""The dead-letter topic from its beginning to the end it has now, in constant memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from stream_app.broker_settings import BrokerSettings
from stream_app.brokers import Connection, connection, reach
from stream_app.errors import TopicError

ANSWER_SECONDS = 30.0
POLL_MS = 500
FETCH_RECORDS = 100


@dataclass(frozen=True, slots=True)
class Letters:
    """A consumer of the dead-letter topic, the end of each partition, and how their brokers are reached."""

    consumer: AIOKafkaConsumer
    ends: dict[TopicPartition, int]
    broker: str
    arguments: Connection


@asynccontextmanager
async def open_letters(
    brokers: BrokerSettings, topic: str, *, group: str | None = None, since: datetime | None = None
) -> AsyncIterator[Letters]:
    """The dead letters as they are now, to be read with `read`.

    Args:
        brokers: where they are, and how to come in.
        topic: the dead-letter topic.
        group: whose commits are wanted; it is not joined.
        since: skip what was written before.

    Raises:
        TopicError: no broker answers, or the topic does not exist.
        AccessError: the brokers turn this client away.
    """
    broker, arguments = brokers.broker, connection(brokers)
    async with reach(broker, arguments) as admin:
        if topic not in await admin.list_topics():
            raise TopicError(
                f"there is no topic {topic!r} at {broker}; `shelver worker` creates it, or set"
                " SHELVER_DEAD_LETTER_TOPIC"
            )
        described = await admin.describe_topics([topic])
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
                await _seek(consumer, partitions, ends, since)
        except (KafkaError, TimeoutError) as error:
            raise TopicError(f"{topic!r} at {broker} cannot be read ({error!r}); try again") from error
        yield Letters(consumer, ends, broker, arguments)
    finally:
        await consumer.stop()


async def _seek(
    consumer: AIOKafkaConsumer,
    partitions: list[TopicPartition],
    ends: dict[TopicPartition, int],
    since: datetime | None,
) -> None:
    starts = await consumer.beginning_offsets(partitions)
    if since is not None:
        moment = int(since.timestamp() * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, moment))
        starts = {each: place.offset if place else ends[each] for each, place in found.items()}
    for partition in partitions:
        consumer.seek(partition, starts[partition])


async def read(letters: Letters) -> AsyncGenerator[ConsumerRecord]:
    """Every letter up to the end, in order within a partition.

    Raises:
        TopicError: the brokers stop answering.
    """
    consumer = letters.consumer
    waiting = set()
    for partition, end in letters.ends.items():
        if await consumer.position(partition) < end:
            waiting.add(partition)
    silent_since = asyncio.get_running_loop().time()
    while waiting:
        batches = await consumer.getmany(*waiting, timeout_ms=POLL_MS, max_records=FETCH_RECORDS)
        now = asyncio.get_running_loop().time()
        silent_since = now if batches else silent_since
        for partition, records in batches.items():
            for record in records:
                if record.offset < letters.ends[partition]:
                    yield record
        # Positions, not records: compaction and transactions leave gaps before the end.
        for partition in tuple(waiting):
            if await consumer.position(partition) >= letters.ends[partition]:
                waiting.discard(partition)
        if now - silent_since > ANSWER_SECONDS:
            raise TopicError("the brokers stopped answering while dead letters were read; try again")
