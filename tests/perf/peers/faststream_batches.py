"""A peer: FastStream's batch subscriber, ``publish_batch`` out, acknowledged by hand.

Started by `tests.perf.throughput`: ``python -m tests.perf.peers.faststream_batches`` with the worker's
variables. A batch of FastStream is a batch of the model: a handler gets one call of ``getmany``, and the next
call waits for the handler. Headers belong to a whole batch of ``publish_batch``, so outputs go without those
of CloudEvents.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaPublishMessage

from stream_app.publishing import Outgoing
from stream_app.settings import Settings, load_settings
from tests.perf.peers.work import Work


def build_app(settings: Settings) -> FastStream:
    """An app with one subscriber."""
    work = Work(settings)
    broker = KafkaBroker(
        settings.broker.removeprefix("kafka://"),
        enable_idempotence=True,
        max_batch_size=settings.publish_batch_bytes,
        logger=None,
    )

    @broker.subscriber(  # type: ignore[untyped-decorator] # faststream is read without types
        settings.product_listed_topic,
        batch=True,
        max_records=settings.max_batch,
        batch_timeout_ms=int(settings.max_delay_ms),
        group_id=settings.group,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=settings.max_fetch_bytes,
        ack_policy=AckPolicy.MANUAL,
        decoder=_undecoded,
    )
    async def classify(message: KafkaMessage) -> None:
        outputs = await asyncio.to_thread(work.outgoing, message.raw_message)
        await asyncio.gather(*(_publish(broker, group) for group in _by_partition(outputs)))
        await message.ack()

    return FastStream(broker)


async def _undecoded(message: KafkaMessage) -> Any:
    """Otherwise every value is parsed as JSON, once more than by the other peers."""
    return message.body


def _by_partition(outputs: Sequence[Outgoing]) -> list[list[Outgoing]]:
    """A batch goes to one partition; the one that the listings came from keeps the order of a key."""
    grouped: dict[int, list[Outgoing]] = {}
    for each in outputs:
        grouped.setdefault(each.source.partition, []).append(each)
    return list(grouped.values())


async def _publish(broker: KafkaBroker, group: Sequence[Outgoing]) -> None:
    messages = [KafkaPublishMessage(each.value, key=each.key) for each in group]
    await broker.publish_batch(*messages, topic=group[0].topic, partition=group[0].source.partition)


if __name__ == "__main__":
    asyncio.run(build_app(load_settings()).run())
