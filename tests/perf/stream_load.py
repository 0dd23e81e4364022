"""Load on a peer that reads a topic and writes another; all times are the broker's (LogAppendTime)."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import jiter
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer.message_accumulator import BatchBuilder

from tests.integration.workers import Topics, Worker
from tests.perf.loads import Capacity, Latency, Measured, at_rates, cpu_seconds, rate, running, steadily
from tests.perf.traffic import Sent, Traffic

NUM_PARTITIONS = 4
SILENCE_SECONDS = 60.0
"""Without an output, after which no more are waited for."""
MAX_BATCH_BYTES = 2**19

Output = tuple[int, bytes]
"""When it was written, and the message."""


async def create_topics(bootstrap: str, topics: Topics) -> None:
    """Create the topics of a run, before anybody asks for them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    names = (topics.listed, topics.assigned, topics.dead, topics.requested, topics.explained)
    configs = {"message.timestamp.type": "LogAppendTime"}
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, NUM_PARTITIONS, 1, topic_configs=configs) for name in names]
        )
        # The answer comes before every part of the broker knows the topics.
        while not all(map(_is_led, await admin.describe_topics(list(names)))):
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def until_joined(bootstrap: str, group: str, num_members: int) -> None:
    """Wait until a consumer group has so many members, and their partitions are dealt out."""
    deadline = time.monotonic() + SILENCE_SECONDS
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while True:
            (answer,) = await admin.describe_consumer_groups([group])
            _, _, state, _, _, members, *_ = answer.groups[0]
            if state == "Stable" and len(members) == num_members:
                return
            assert time.monotonic() < deadline, f"group {group} is {state} with {len(members)} members"
            await asyncio.sleep(0.2)
    finally:
        await admin.close()


def _is_led(topic: Any) -> bool:
    partitions = topic["partitions"]
    return len(partitions) == NUM_PARTITIONS and all(each["leader"] >= 0 for each in partitions)


def _parts(listings: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
    """One part for each partition, more where it would be larger than a batch of the producer."""
    most = -(-len(listings) // NUM_PARTITIONS)
    part: list[Sent] = []
    num_bytes = 0
    for listing in listings:
        if part and (len(part) == most or num_bytes + len(listing[1]) > MAX_BATCH_BYTES // 2):
            yield part
            part, num_bytes = [], 0
        part.append(listing)
        num_bytes += len(listing[1])
    yield part


class StreamLoad:
    """Publishes listings and reads what comes out."""

    def __init__(self, bootstrap: str, topics: Topics, workers: Sequence[Worker]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._workers = workers
        self._num_batches = 0
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, max_batch_size=MAX_BATCH_BYTES, max_request_size=2**23
        )
        self._consumer = AIOKafkaConsumer(
            topics.assigned, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        )

    async def __aenter__(self) -> Self:
        await self._producer.start()
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._producer.stop()

    async def measure(self, kind: str, peer: str, num_events: int) -> Measured:
        """Work off a backlog, then publish at shares of the capacity; the worker is started in between."""
        traffic = Traffic(kind)
        await self._publish(traffic.take(num_events))
        with self._running():
            capacity = await self._capacity(num_events)
            latencies, idle = await at_rates(traffic, capacity, num_events, self.latency)
        return Measured(kind, peer, num_events, capacity, latencies, idle)

    async def work_off(self, kind: str, num_events: int) -> Capacity:
        """Have all workers join, then hand them a backlog at once, so that none is ahead of the others."""
        batches = list(map(self._batch, _parts(Traffic(kind).take(num_events))))
        with self._running():
            await asyncio.gather(*(worker.ready() for worker in self._workers))
            await until_joined(self._bootstrap, self._topics.group, len(self._workers))
            capacity, _ = await asyncio.gather(self._capacity(num_events), self._hand_over(batches))
        return capacity

    async def _hand_over(self, batches: Sequence[BatchBuilder]) -> None:
        deliveries = [await self._send_batch(batch) for batch in batches]
        await asyncio.gather(*deliveries)

    @contextmanager
    def _running(self) -> Iterator[None]:
        with ExitStack() as stack:
            for worker in self._workers:
                stack.enter_context(worker)
            yield

    def _cpu_seconds(self) -> float:
        return sum(map(cpu_seconds, self._workers))

    async def _publish(self, listings: list[Sent]) -> None:
        deliveries = [
            await self._producer.send(self._topics.listed, key=key, value=value) for key, value in listings
        ]
        await asyncio.gather(*deliveries)

    async def _capacity(self, num_events: int) -> Capacity:
        outputs = await self._read(1)
        cpu, num_before = -self._cpu_seconds(), len(outputs)
        outputs += await self._read(num_events - num_before)
        cpu += self._cpu_seconds()
        num_counted = max(1, len(outputs) - num_before)
        return Capacity(round(rate([at for at, _ in outputs]), 1), round(1e6 * cpu / num_counted, 1))

    async def pass_through(self, listings: list[Sent]) -> None:
        """Publish listings and wait until as many have come out; the workers run already."""
        await asyncio.gather(self._publish(listings), self._read(len(listings)))

    async def latency(self, listings: list[Sent], per_second: float) -> Latency:
        """Publish listings at a rate, to workers that run, and see how long each takes."""
        sent: list[tuple[int, Any]] = []

        async def send(due: Sequence[Sent]) -> None:
            sent.extend([(len(part), await self._send_batch(self._batch(part))) for part in _parts(due)])

        outputs, _ = await asyncio.gather(self._read(len(listings)), steadily(listings, per_second, send))
        came_in = {}
        for num_records, delivery in sent:
            first = await delivery
            for offset in range(first.offset, first.offset + num_records):
                came_in[first.partition, offset] = first.timestamp
        ages = []
        for at, value in outputs:
            source = jiter.from_json(value)["source"]
            ages.append(at - came_in[source["partition"], source["offset"]])
        return Latency.of(per_second, ages, [at for at, _ in outputs])

    def _batch(self, listings: Sequence[Sent]) -> BatchBuilder:
        """Record by record the load would take more CPU than the peers."""
        batch = self._producer.create_batch()
        for key, value in listings:
            assert batch.append(key=key, value=value, timestamp=None) is not None
        return batch

    async def _send_batch(self, batch: BatchBuilder) -> Any:
        """Give the partitions their turns."""
        self._num_batches += 1
        partition = self._num_batches % NUM_PARTITIONS
        return await self._producer.send_batch(batch, self._topics.listed, partition=partition)

    async def _read(self, num_outputs: int) -> list[Output]:
        """Read so many outputs, or a few more that came with them."""
        outputs: list[Output] = []
        last = time.monotonic()
        while len(outputs) < num_outputs:
            assert time.monotonic() < last + SILENCE_SECONDS, f"{len(outputs)} of {num_outputs} came out"
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                outputs += [(record.timestamp, record.value) for record in records]
                last = time.monotonic()
            for worker in self._workers:
                running(worker)
        return outputs
