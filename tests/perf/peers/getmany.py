"""A peer: a bare aiokafka loop, ``getmany`` in, ``send_batch`` out, offsets committed by hand.

Started by `tests.perf.throughput`: ``python -m tests.perf.peers.getmany`` with the worker's variables.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_app.publishing import Outgoing
from stream_app.settings import Settings, load_settings
from tests.perf.peers.work import Work

POLL_RECORDS = 512
"""Near Kafka's own max.poll.records: one delivery and one commit for several batches of the model."""


async def run(settings: Settings) -> None:
    """Consume, score and produce until the process is ended."""
    work = await asyncio.to_thread(Work, settings)
    bootstrap = settings.broker.removeprefix("kafka://")
    consumer = AIOKafkaConsumer(
        settings.product_listed_topic,
        bootstrap_servers=bootstrap,
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=settings.max_fetch_bytes,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_batch_size=settings.publish_batch_bytes
    )
    async with producer, consumer:
        while True:
            found = await consumer.getmany(timeout_ms=int(settings.max_delay_ms), max_records=POLL_RECORDS)
            records = [record for part in found.values() for record in part]
            if not records:
                continue
            deliveries = []
            for first in range(0, len(records), settings.max_batch):
                batch = records[first : first + settings.max_batch]
                outputs = await asyncio.to_thread(work.outgoing, batch)
                deliveries += await _send(producer, outputs)
            await asyncio.gather(*deliveries)
            await consumer.commit()


async def _send(producer: AIOKafkaProducer, outputs: Sequence[Outgoing]) -> list[Any]:
    grouped: dict[int, list[Outgoing]] = {}
    for each in outputs:
        grouped.setdefault(each.source.partition, []).append(each)
    deliveries = []
    for partition, group in grouped.items():
        batch = producer.create_batch()
        for each in group:
            added = batch.append(key=each.key, value=each.value, timestamp=None, headers=list(each.headers))
            assert added is not None, "outputs of one poll are below the size of a batch"
        deliveries.append(await producer.send_batch(batch, group[0].topic, partition=partition))
    return deliveries


if __name__ == "__main__":
    asyncio.run(run(load_settings()))
