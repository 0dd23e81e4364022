"""The way out: an idempotent producer of our own, records batched per partition, every delivery awaited."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2
from pydantic import BaseModel, ConfigDict, Field

from stream_app.acknowledgement import TopicPartition
from stream_app.acls import Operation, told
from stream_app.errors import FatalError


class PublishSettings(BaseModel):
    """How results are written."""

    model_config = ConfigDict(frozen=True)

    publish_batch_bytes: int = Field(
        900_000,
        ge=1_000,
        description="Most bytes in one produced batch; keep it below the broker's message.max.bytes.",
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

    async def stop(self) -> None:
        """Write what is still queued and disconnect."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

    async def send(self, records: Iterable[Outgoing]) -> list[Confirmation]:
        """Hand records to the producer in order; `confirm` waits for what it returns.

        Raises:
            FatalError: the producer cannot go on.
        """
        grouped: dict[TopicPartition, list[Outgoing]] = {}
        try:
            for record in records:
                grouped.setdefault(await self._partition(record), []).append(record)
            confirmations: list[Confirmation] = []
            for partition, group in grouped.items():
                confirmations.extend(await self._send_group(partition, group))
        except KafkaError as error:
            raise FatalError(f"cannot publish: {told(error, Operation.WRITE)}") from error
        return confirmations

    async def confirm(self, confirmations: Sequence[Confirmation]) -> None:
        """Wait until the brokers have everything.

        Raises:
            FatalError: a batch could not be delivered: fenced, out of order, refused, or brokers away too
                long.
        """
        deliveries = [confirmation.delivery for confirmation in confirmations]
        try:
            # Batches of an idempotent producer never expire by themselves, whatever request_timeout_ms says.
            async with asyncio.timeout(self._settings.publish_timeout_seconds):
                await asyncio.gather(*deliveries)
        except (KafkaError, TimeoutError) as error:
            raise FatalError(
                f"a batch could not be delivered{_where(confirmations, error)}; it is not acknowledged,"
                " so it is read again"
            ) from error

    async def partitions_of(self, topic: str) -> Collection[int]:
        """The partitions of a topic; none when it does not exist.

        Raises:
            aiokafka.errors.KafkaError: the brokers do not answer.
        """
        found: Collection[int] = await self._ready_producer().partitions_for(topic) or ()
        return found

    async def _partition(self, record: Outgoing) -> TopicPartition:
        producer = self._ready_producer()
        partitions = await producer.partitions_for(record.topic)
        if not partitions:
            raise FatalError(f"topic {record.topic!r} has gone; create it again and restart the worker")
        num_partitions = len(partitions)
        if (
            record.topic == record.source.topic
            or len(await producer.partitions_for(record.source.topic)) == num_partitions
        ):
            return TopicPartition(record.topic, record.source.partition)
        if record.key is None:
            return TopicPartition(record.topic, record.source.partition % num_partitions)
        return TopicPartition(record.topic, (murmur2(record.key) & 0x7FFFFFFF) % num_partitions)

    async def _send_group(self, partition: TopicPartition, group: Sequence[Outgoing]) -> list[Confirmation]:
        producer = self._ready_producer()
        batches = [producer.create_batch()]
        for record in group:
            if _append(batches[-1], record) is None:
                batches.append(producer.create_batch())
                _append(batches[-1], record)
        topic, number = partition
        return [
            Confirmation(topic, await producer.send_batch(batch, topic, partition=number))
            for batch in batches
        ]

    def _ready_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise FatalError("the publisher is not running")
        return self._producer


def _append(batch: Any, record: Outgoing) -> Any:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))


def _where(confirmations: Sequence[Confirmation], error: Exception) -> str:
    """Which topic an error is about, and what to do where that is known."""
    failed = [
        each.topic
        for each in confirmations
        if each.delivery.done() and not each.delivery.cancelled() and each.delivery.exception() is error
    ]
    if not failed:
        return f": {told(error, Operation.WRITE)}"
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return (
            f" to topic {failed[0]}: it is larger than the topic takes; raise its max.message.bytes, "
            "or lower SHELVER_PUBLISH_BATCH_BYTES"
        )
    return f" to topic {failed[0]}: {told(error, Operation.WRITE)}"
