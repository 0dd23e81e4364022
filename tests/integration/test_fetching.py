"""Faust on whole fetches, on a real Kafka: everything arrives raw, only finished work is committed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition

from stream_app.acknowledgement import OffsetLedger, Span
from stream_app.agents import declare_agent
from stream_app.batching import Fetched, Record
from stream_app.broker import EmbeddedBroker
from stream_app.fetching import ROOM_POLL_SECONDS, Flow, WholeFetchApp, WholeFetchConsumer
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import delete_topic

PATIENCE_SECONDS = 30


class Collector:
    """An intake that keeps what comes and finishes what it is told to."""

    def __init__(self) -> None:
        self.fetches: list[Fetched] = []
        self.has_room = True
        self.drained_generations: list[int] = []

    @property
    def records(self) -> list[Record]:
        return [record for fetched in self.fetches for record in fetched.records]

    async def drain(self, generation: int) -> None:
        self.drained_generations.append(generation)


def span_of(fetched: Fetched) -> Span:
    records = fetched.records
    return Span(fetched.partition, fetched.generation, records[0].offset, records[-1].offset + 1)


@asynccontextmanager
async def running(
    kafka: EmbeddedBroker,
    topic: str,
    collector: Collector,
    *,
    group: str,
    others: Mapping[str, Collector] | None = None,
) -> AsyncIterator[WholeFetchApp]:
    app = WholeFetchApp(
        group,
        broker=f"kafka://{kafka.bootstrap}",
        store="memory://",
        web_enabled=False,
        stream_wait_empty=True,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_commit_interval=0.1,
        broker_session_timeout=10,
        broker_request_timeout=20,
    )
    app.flow = Flow(OffsetLedger(), on_commit=lambda _committed: None)
    for name, each in {topic: collector, **(others or {})}.items():
        app.flow.intakes[name] = each
        declare_agent(app, name, name=f"collector of {name}", add=each.fetches.append)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


async def committed_offset(kafka: EmbeddedBroker, topic: str, group: str) -> int | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        committed: int | None = await consumer.committed(KafkaPartition(topic, 0))
        return committed
    finally:
        await consumer.stop()


async def publish(kafka: EmbeddedBroker, topic: str, values: list[bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for number, value in enumerate(values):
            await producer.send(topic, key=str(number).encode(), value=value, partition=0)
        await producer.flush()


async def test_every_record_arrives_raw_and_in_order(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics
) -> None:
    topic, collector = topic_names("raw"), Collector()
    await create_topics(topic)
    values = [b'{"a":1}', None, b"", b"null", b"\x00\x00\x00\x00\x07a", b"\xff\xfe", b"{" * 9, b'{"b":2}']
    await publish(kafka, topic, values)
    async with running(kafka, topic, collector, group=topic):
        await eventually(lambda: len(collector.records) == len(values))
    assert [record.value for record in collector.records] == values
    assert [record.offset for record in collector.records] == list(range(len(values)))


async def test_only_a_finished_prefix_is_committed_and_the_rest_comes_again(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics
) -> None:
    topic, collector = topic_names("prefix"), Collector()
    await create_topics(topic)
    async with running(kafka, topic, collector, group=topic) as app:
        for count in (1, 2, 3):
            await publish(kafka, topic, [b"{}"])
            await eventually(lambda count=count: len(collector.fetches) == count)  # type: ignore[misc]
        first, second, third = map(span_of, collector.fetches)
        ledger = app.flow.ledger
        assert all(ledger.begin([span]) for span in (first, second, third))
        ledger.done([second, third])
        await asyncio.sleep(0.5)
        assert await committed_offset(kafka, topic, topic) is None
        ledger.done([first])
    assert await committed_offset(kafka, topic, topic) == 3
    assert collector.drained_generations

    await publish(kafka, topic, [b"4", b"5"])
    unfinished = Collector()
    async with running(kafka, topic, unfinished, group=topic):
        await eventually(lambda: len(unfinished.records) == 2)
    assert await committed_offset(kafka, topic, topic) == 3

    again = Collector()
    async with running(kafka, topic, again, group=topic):
        await eventually(lambda: len(again.records) == 2)
    assert [record.offset for record in again.records] == [3, 4]


async def test_a_full_intake_stops_the_fetching_until_it_has_room(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics
) -> None:
    topic, collector = topic_names("room"), Collector()
    await create_topics(topic)
    collector.has_room = False
    await publish(kafka, topic, [b"{}"])
    async with running(kafka, topic, collector, group=topic) as app:
        await eventually(lambda: bool(app.consumer.assignment()) and not app.rebalancing)
        await asyncio.sleep(1.5)
        assert collector.records == []
        collector.has_room = True
        app.flow.room_changed.set()
        await eventually(lambda: len(collector.records) == 1)


async def test_a_topic_that_is_full_gets_its_records_soon_after_it_has_room(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fetch of the other topics alone cannot be called off, so it must not wait long for their records."""
    full, empty = topic_names("full"), topic_names("empty")
    await create_topics(full)
    await create_topics(empty)
    await publish(kafka, full, [b"{}"])
    getmany, waits = WholeFetchConsumer._getmany, list[float]()

    async def watched(self: WholeFetchConsumer, partitions: Any, seconds: float) -> Any:
        if {partition.topic for partition in partitions} == {empty}:
            waits.append(seconds)
        return await getmany(self, partitions, seconds)

    monkeypatch.setattr(WholeFetchConsumer, "_getmany", watched)
    collector, idle = Collector(), Collector()
    collector.has_room = False
    async with running(kafka, full, collector, group=full, others={empty: idle}) as app:
        await eventually(lambda: len(waits) > 2)
        collector.has_room = True
        app.flow.room_changed.set()
        await eventually(lambda: len(collector.records) == 1)
    assert max(waits) == ROOM_POLL_SECONDS
    assert idle.records == []


async def test_a_topic_made_anew_is_read_from_its_beginning_and_still_seen_after_a_rebalance(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics
) -> None:
    """Whoever watches has to learn of it, though the group noticed first."""
    topic, collector = topic_names("anew"), Collector()
    await create_topics(topic)
    await publish(kafka, topic, [b"old"] * 3)
    async with running(kafka, topic, collector, group=topic) as app:
        await eventually(lambda: len(collector.records) == 3)
        (first_id,) = app.flow.topic_ids.values()
        spans = [span_of(fetched) for fetched in collector.fetches]
        assert app.flow.ledger.begin(spans)
        app.flow.ledger.done(spans)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await committed_offset(kafka, topic, topic) != 3:
                await asyncio.sleep(0.05)
        await delete_topic(kafka.bootstrap, topic)
        await create_topics(topic, num_partitions=2)
        await publish(kafka, topic, [b"new"] * 5)
        await eventually(lambda: [each.value for each in collector.records].count(b"new") >= 5)
        assert app.flow.topic_ids == {topic: first_id}
    found = [each.offset for each in collector.records if each.value == b"new"]
    assert set(found) == set(range(5))


@pytest.mark.parametrize("fault", ["the group rebalances", "the flow is stopped"])
async def test_what_is_fetched_while_nobody_may_have_it_is_fetched_again(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    """Nothing is committed yet, so that a seek to committed offsets would not bring it back."""
    topic, collector = topic_names("again"), Collector()
    await create_topics(topic)
    getmany, num_faults = WholeFetchConsumer._getmany, 0

    async def faulty(self: WholeFetchConsumer, *arguments: Any) -> Any:
        nonlocal num_faults
        records = await getmany(self, *arguments)
        if records and num_faults < 2:
            num_faults += 1
            if fault == "the group rebalances":
                self.app.consumer_generation_id += 1
            else:
                self.stop_flow()
                asyncio.get_running_loop().call_later(0.2, self.resume_flow)
        return records

    monkeypatch.setattr(WholeFetchConsumer, "_getmany", faulty)
    async with running(kafka, topic, collector, group=topic):
        await publish(kafka, topic, [b"1", b"2", b"3"])
        await eventually(lambda: len(collector.records) >= 3)
    assert num_faults == 2
    assert [record.value for record in collector.records] == [b"1", b"2", b"3"]
