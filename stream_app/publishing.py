"""The way out: an idempotent producer of our own, records batched per partition, every delivery awaited."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2
from pydantic import BaseModel, ConfigDict, Field

from stream_app.acknowledgement import TopicPartition
from stream_app.acls import Operation, told
from stream_app.errors import FatalError

READ_AGAIN = "; nothing of it is acknowledged, so it is read again"


class PublishSettings(BaseModel):
    """How results are written."""

    model_config = ConfigDict(frozen=True)

    publish_batch_bytes: int = Field(
        900_000,
        ge=4_096,
        description="Most bytes in one produced batch and in one dead letter; keep it below max.message.bytes"
        " of every topic that is written.",
    )
    publish_compression: str | None = Field(
        None,
        pattern="^(gzip|snappy|lz4|zstd)$",
        description="Compression of what is published; none by default.",
    )
    publish_timeout_seconds: float = Field(
        60.0,
        ge=1,
        le=600,
        description="How long brokers may be away before the worker gives up, unacknowledged, and exits.",
    )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to write; ``source`` is the partition of the record that caused it."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]]
    source: TopicPartition


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A batch on its way to a topic; ``delivery`` is done when the brokers have it."""

    topic: str
    delivery: asyncio.Future[Any]

    @property
    def is_confirmed(self) -> bool:
        """Whether the brokers have it."""
        return self.delivery.done() and not self.delivery.cancelled() and self.delivery.exception() is None


def refused(topic: str, error: KafkaError) -> str:
    """Why a topic does not get its batch, and what to do where it takes none so large."""
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return (
            f"it is too large for topic {topic}: raise max.message.bytes of topic {topic} or lower"
            " SHELVER_PUBLISH_BATCH_BYTES"
        )
    return f"topic {topic}: {told(error, Operation.WRITE)}"


class Publisher:
    """Writes records and says when the brokers have them all.

    A record goes to the partition of its source where both topics have as many partitions, otherwise to the
    partition of its key by Kafka's own hash (murmur2); either way records of one key stay in order.
    """

    def __init__(self, settings: PublishSettings, connection: Mapping[str, Any]) -> None:
        self._settings = settings
        self._connection = connection
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            aiokafka.errors.KafkaError: no broker can be reached.
        """
        self._producer = AIOKafkaProducer(
            **self._connection,
            enable_idempotence=True,
            acks="all",
            compression_type=self._settings.publish_compression,
            max_batch_size=self._settings.publish_batch_bytes,
            max_request_size=16 * 2**20,
            request_timeout_ms=int(self._settings.publish_timeout_seconds * 1000),
        )
        await self._producer.start()

    async def stop(self, *, seconds: float | None = None) -> None:
        """Write what is still queued and disconnect; without the first after so many seconds.

        Brokers that have gone are waited for without an end otherwise.
        """
        if self._producer is None:
            return
        producer, self._producer = self._producer, None
        try:
            async with asyncio.timeout(seconds):
                await producer.stop()
        except TimeoutError:
            await producer.client.close()

    async def send(self, records: Sequence[Outgoing]) -> list[Confirmation]:
        """Hand records to the producer in order; the futures are done when the brokers confirm.

        Raises:
            FatalError: the producer cannot go on.
        """
        partitions = await self._partitions_to_choose_from(records)
        grouped: dict[TopicPartition, list[Outgoing]] = {}
        for record in records:
            grouped.setdefault(_partition(record, partitions), []).append(record)
        confirmations: list[Confirmation] = []
        for partition, group in grouped.items():
            with _fatal("cannot publish", partition.topic):
                confirmations.extend(await self._send_group(partition, group))
        return confirmations

    async def confirm(self, confirmations: Sequence[Confirmation]) -> None:
        """Wait until the brokers have everything.

        Raises:
            FatalError: a batch could not be delivered: fenced, out of order, refused, or brokers away too
                long.
        """
        seconds = self._settings.publish_timeout_seconds
        try:
            # Batches of an idempotent producer never expire by themselves, whatever request_timeout_ms says.
            async with asyncio.timeout(seconds):
                await asyncio.gather(*map(_delivered, confirmations))
        except TimeoutError as error:
            topics = {each.topic for each in confirmations if not each.is_confirmed}
            raise FatalError(
                f"a batch is not confirmed after {seconds:g} s: topic {', '.join(sorted(topics))}{READ_AGAIN}"
            ) from error

    async def partitions_of(self, topic: str) -> Collection[int]:
        """The partitions of a topic; none when it does not exist.

        Raises:
            aiokafka.errors.KafkaError: the brokers do not answer.
        """
        found: Collection[int] = await self._ready_producer().partitions_for(topic) or ()
        return found

    async def _partitions_to_choose_from(self, records: Sequence[Outgoing]) -> Mapping[str, Collection[int]]:
        """Those of the topics that records go to and come from."""
        found: dict[str, Collection[int]] = {}
        for topic in {record.topic for record in records}:
            with _fatal("cannot publish", topic):
                found[topic] = await self.partitions_of(topic)
            if not found[topic]:
                raise FatalError(f"topic {topic!r} has gone; create it again and restart the worker")
        for topic in {record.source.topic for record in records} - found.keys():
            with _fatal("cannot publish what came from", topic):
                found[topic] = await self.partitions_of(topic)
        return found

    async def _send_group(self, partition: TopicPartition, group: Sequence[Outgoing]) -> list[Confirmation]:
        producer = self._ready_producer()
        confirmations = []
        batch = producer.create_batch()
        for record in group:
            if _append(batch, record) is None:
                confirmations.append(await self._send_batch(batch, partition))
                batch = producer.create_batch()
                _append(batch, record)
        confirmations.append(await self._send_batch(batch, partition))
        return confirmations

    async def _send_batch(self, batch: Any, partition: TopicPartition) -> Confirmation:
        topic, number = partition
        delivery = await self._ready_producer().send_batch(batch, topic, partition=number)
        return Confirmation(topic, delivery)

    def _ready_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise FatalError("the publisher is not running")
        return self._producer


def _partition(record: Outgoing, partitions: Mapping[str, Collection[int]]) -> TopicPartition:
    mine = partitions[record.topic]
    # What the producer knows of the source is up to five minutes old; it may have more partitions by now.
    if len(partitions[record.source.topic]) == len(mine) and record.source.partition in mine:
        return TopicPartition(record.topic, record.source.partition)
    if record.key is None:
        return TopicPartition(record.topic, record.source.partition % len(mine))
    return TopicPartition(record.topic, (murmur2(record.key) & 0x7FFFFFFF) % len(mine))


async def _delivered(confirmation: Confirmation) -> None:
    with _fatal("a batch could not be delivered", confirmation.topic):
        await confirmation.delivery


@contextmanager
def _fatal(what: str, topic: str) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise FatalError(f"{what}: {refused(topic, error)}{READ_AGAIN}") from error


def _append(batch: Any, record: Outgoing) -> Any:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
