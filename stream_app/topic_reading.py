"""A topic up to the end it has now, in constant memory, without joining a consumer group."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.structs import OffsetAndMetadata

from stream_app.acls import COORDINATOR_POLL_SECONDS, Needs, check_access, topic_access, user_of
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
class Stretch:
    """What is to be read of a topic, and a consumer to read it with.

    Attributes:
        consumer: assigned to all partitions.
        starts: first offset that is wanted, by partition.
        ends: offset behind the last record that is wanted, by partition.
        topic_id: another one when the topic is deleted and made anew; None where brokers know no ids.
        broker: the address as the user gave it.
        arguments: of `stream_app.brokers.connection`.
    """

    consumer: AIOKafkaConsumer
    starts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    topic_id: str | None
    broker: str
    arguments: Connection

    @property
    def num_records(self) -> int:
        """How many there are to read; fewer where compaction or transactions left gaps."""
        return sum(max(0, self.ends[partition] - start) for partition, start in self.starts.items())


@asynccontextmanager
async def open_stretch(
    brokers: BrokerSettings,
    topic: str,
    *,
    since: datetime | None = None,
    group: str | None = None,
    writes: Collection[str] = (),
) -> AsyncIterator[Stretch]:
    """A topic as it is now, to be read with `read` or `fetches`.

    Args:
        brokers: where they are, and how to come in.
        topic: what is read.
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
                starts = (
                    dict(await consumer.beginning_offsets(partitions))
                    if since is None
                    else await _offsets_since(consumer, ends, since)
                )
        except (KafkaError, TimeoutError) as error:
            raise TopicError(f"{topic!r} at {broker} cannot be read ({error!r}); try again") from error
        yield Stretch(consumer, starts, ends, ids.get(topic), broker, arguments)
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


async def offsets_since(stretch: Stretch, since: datetime) -> Mapping[TopicPartition, int]:
    """The first offset that was written at a time or later, by partition; its end where there is none.

    Raises:
        TopicError: the brokers do not tell.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _offsets_since(stretch.consumer, stretch.ends, since)
    except (KafkaError, TimeoutError) as error:
        raise TopicError(
            f"{stretch.broker} does not tell what was written since ({error!r}); try again"
        ) from error


async def _offsets_since(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], since: datetime
) -> Mapping[TopicPartition, int]:
    # Kafka knows no time before 1970.
    moment = max(0, int(since.timestamp() * 1000))
    found = await consumer.offsets_for_times(dict.fromkeys(ends, moment))
    return {each: place.offset if place else ends[each] for each, place in found.items()}


async def read(stretch: Stretch) -> AsyncGenerator[ConsumerRecord]:
    """Every record of a stretch, in order within a partition; who reads may take any time between two.

    Raises:
        DeliveryError: the brokers stop answering.
    """
    found = fetches(stretch)
    async with aclosing(found):
        async for records in found:
            for record in records:
                yield record


async def fetches(
    stretch: Stretch, *, max_records: int = FETCH_RECORDS
) -> AsyncGenerator[Sequence[ConsumerRecord]]:
    """What `read` yields, by the fetch: records of one partition, never none.

    Args:
        stretch: what is read.
        max_records: most in all fetches that come at a time.

    Raises:
        DeliveryError: the brokers stop answering.
    """
    consumer, clock = stretch.consumer, asyncio.get_running_loop().time
    waiting = {partition for partition, start in stretch.starts.items() if start < stretch.ends[partition]}
    for partition in waiting:
        consumer.seek(partition, stretch.starts[partition])
    silent_seconds = 0.0
    while waiting:
        asked_at = clock()
        batches = await _answer(
            stretch, consumer.getmany(*waiting, timeout_ms=POLL_MS, max_records=max_records)
        )
        silent_seconds = 0.0 if batches else silent_seconds + clock() - asked_at
        for partition, records in batches.items():
            if wanted := [record for record in records if record.offset < stretch.ends[partition]]:
                yield wanted
        # Positions, not records: compaction and transactions leave gaps before the end.
        for partition in tuple(waiting):
            if await _answer(stretch, consumer.position(partition)) >= stretch.ends[partition]:
                waiting.discard(partition)
        if waiting and silent_seconds > ANSWER_SECONDS:
            raise _silent(stretch, f"nothing for {silent_seconds:.0f} s")


async def committed_offsets(
    admin: AIOKafkaAdminClient, group: str
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The commits of a group; `list_consumer_group_offsets` finds none while the brokers still load them.

    Raises:
        aiokafka.errors.KafkaError: the brokers refuse to tell them.
        TimeoutError: they do not answer.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        while True:
            try:
                coordinator = await admin.find_coordinator(group)
                answer = await admin._send_request(OffsetFetchRequest(group, None), coordinator)  # noqa: SLF001
                if answer.error_code:
                    raise for_code(answer.error_code)
                break
            except KafkaError as error:
                if not error.retriable:
                    raise
            await asyncio.sleep(COORDINATOR_POLL_SECONDS)
    return {
        TopicPartition(topic, number): OffsetAndMetadata(offset, metadata)
        for topic, partitions in answer.topics
        for number, offset, metadata, *_ in partitions
    }


async def _answer(stretch: Stretch, question: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await question
    except (KafkaError, TimeoutError) as error:
        raise _silent(stretch, repr(error)) from error


def _silent(stretch: Stretch, why: str) -> DeliveryError:
    return DeliveryError(
        f"{stretch.broker} stopped answering while {next(iter(stretch.ends)).topic} was read ({why}); try"
        " again"
    )
