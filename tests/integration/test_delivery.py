"""Nothing is lost: killed, stopped, joined and cut off workers, on a real Kafka."""

import asyncio
import base64
import signal
from pathlib import Path

from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import free_port
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import OutputReader, Sent, Topics, Worker, committed, listing, publish
from tests.pictures import USABLE


def assert_nothing_lost(reader: OutputReader, num_listings: int) -> None:
    output = reader.output
    assert set(output.assigned) == {f"e-{number}" for number in range(num_listings)}
    assert not output.dead
    for event_id, assignment_ids in output.assigned.items():
        assert len(set(assignment_ids)) == 1, f"duplicates of {event_id} differ in their id"


async def test_a_worker_killed_in_the_middle_loses_nothing(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, num_listings = Topics.named(topic_names), 5_000
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=4)
    publishing = asyncio.create_task(
        publish(kafka.bootstrap, topics.listed, map(listing, range(num_listings)), per_second=1_500)
    )
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "first.log") as worker:
            await reader.until(1_000)
            await worker.stop(signal.SIGKILL)
            await assert_commits_cover_only_what_came_out(kafka.bootstrap, topics, reader)
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as worker:
            await publishing
            await reader.until(num_listings)
            assert await worker.stop() == 0
        await reader.read(timeout_ms=1_000)
        assert_nothing_lost(reader, num_listings)
        offsets = await committed(kafka.bootstrap, topics)
        assert sum(offset or 0 for offset in offsets.values()) == num_listings


async def assert_commits_cover_only_what_came_out(
    bootstrap: str, topics: Topics, reader: OutputReader
) -> None:
    """Every record below a committed offset has its result on an output topic already."""
    offsets = await committed(bootstrap, topics)
    await reader.read(timeout_ms=2_000)
    await reader.read(timeout_ms=1_000)
    for partition, offset in offsets.items():
        finished = {f"{topics.listed}-{partition}-{number}" for number in range(offset or 0)}
        assert finished <= reader.output.sources


async def test_a_stopped_worker_finishes_what_it_has_begun_and_leaves_no_duplicates(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, num_listings = Topics.named(topic_names), 3_000
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=4)
    await publish(kafka.bootstrap, topics.listed, map(listing, range(num_listings)))
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "first.log") as worker:
            await reader.until(300)
            assert await worker.stop() == 0
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as worker:
            await reader.until(num_listings)
            assert await worker.stop(signal.SIGINT) == 0
        assert_nothing_lost(reader, num_listings)
        assert reader.output.num_duplicates == 0


async def test_workers_that_join_and_leave_lose_nothing(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, num_listings = Topics.named(topic_names), 4_000
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=4)
    publishing = asyncio.create_task(
        publish(kafka.bootstrap, topics.listed, map(listing, range(num_listings)), per_second=400)
    )
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with (
            Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "first.log") as first,
            Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as second,
        ):
            await reader.until(500)
            await asyncio.gather(first.ready(), second.ready())
            assert await first.stop() == 0
            await publishing
            await reader.until(num_listings)
            assert await second.stop() == 0
        assert_nothing_lost(reader, num_listings)


async def test_a_broker_that_restarts_under_load_loses_nothing(
    topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics, num_listings = Topics.named(topic_names), 3_000
    with (
        EmbeddedBroker() as broker,
        Worker(broker.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker,
    ):
        await worker.ready()
        publishing = asyncio.create_task(
            publish(broker.bootstrap, topics.listed, map(listing, range(num_listings)), per_second=300)
        )
        await asyncio.sleep(3)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(3)
        await asyncio.to_thread(broker.start)
        await publishing
        async with OutputReader(broker.bootstrap, topics) as reader:
            await reader.until(num_listings)
            assert_nothing_lost(reader, num_listings)
        assert await worker.stop() == 0


async def test_a_worker_that_starts_before_its_broker_and_topics_takes_up_the_work(
    topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics = Topics.named(topic_names)
    broker = EmbeddedBroker(port=free_port())
    with Worker(broker.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker:
        await asyncio.sleep(2)
        with broker:
            await worker.ready()
            await publish(broker.bootstrap, topics.listed, map(listing, range(20)))
            async with OutputReader(broker.bootstrap, topics) as reader:
                await reader.until(20)
            assert await worker.stop() == 0


async def test_outputs_of_one_product_keep_the_order_of_its_listings(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.dead, num_partitions=4)
    await create_topics(topics.assigned, num_partitions=3)
    picture = {"data": base64.b64encode(USABLE["jpeg"][0]).decode()}
    records: list[Sent] = []
    for number in range(700):
        # Of each product some listings have a picture and take longer.
        image = picture if number % 5 == 0 else None
        value = listing(number, product_id=str(number % 7), image=image)[1]
        records.append((str(number % 7).encode(), value, []))
    await publish(kafka.bootstrap, topics.listed, records)
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "w.log", max_batch=16) as worker:
            await reader.until(len(records))
            assert await worker.stop() == 0
    by_product: dict[object, list[int]] = {}
    for message in reader.output.messages:
        by_product.setdefault(message["product_id"], []).append(int(str(message["event_id"])[2:]))
    assert len(by_product) == 7
    assert all(numbers == sorted(numbers) for numbers in by_product.values())
