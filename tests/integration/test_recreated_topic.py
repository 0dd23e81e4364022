"""A topic that is deleted and made anew is read from its beginning, whatever was committed."""

import asyncio
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.topic_ids import topic_ids
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import (
    OutputReader,
    Topics,
    Worker,
    admin,
    committed,
    delete_topic,
    listing,
    publish,
)

NUM_BEFORE = 100
NUM_AFTER = 400
"""More than before: the client finds its old offsets in the new topic, and would go on from there."""


async def test_brokers_tell_another_id_after_a_topic_was_made_anew(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics
) -> None:
    name = topic_names("t")
    async with admin(kafka.bootstrap) as client:
        await create_topics(name)
        first = await topic_ids(client._client, [name])
        await delete_topic(kafka.bootstrap, name)
        assert await topic_ids(client._client, [name]) == {}
        await create_topics(name)
        second = await topic_ids(client._client, [name])
    assert first.keys() == second.keys() == {name}
    assert first[name] != second[name]


@pytest.mark.parametrize("num_partitions", [2, 8])
async def test_a_worker_that_runs_ends_and_the_next_one_reads_all_of_the_new_topic(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
    num_partitions: int,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=4)
    log = tmp_path / "first.log"
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=log) as worker:
            await worker.ready()
            await publish(kafka.bootstrap, topics.listed, map(listing, range(NUM_BEFORE)))
            await reader.until(NUM_BEFORE)
            await delete_topic(kafka.bootstrap, topics.listed)
            await create_topics(topics.listed, num_partitions=num_partitions)
            await publish(
                kafka.bootstrap, topics.listed, map(listing, range(NUM_BEFORE, NUM_BEFORE + NUM_AFTER))
            )
            assert await worker.exit_code(seconds=60) == 1
        assert f"topic {topics.listed} was deleted and made anew" in log.read_text()
        await the_rest_comes(kafka, topics, demo_repository, tmp_path / "second.log", reader)


async def test_a_worker_that_was_away_meanwhile_reads_all_of_the_new_topic(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=4)
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "first.log") as worker:
            await publish(kafka.bootstrap, topics.listed, map(listing, range(NUM_BEFORE)))
            await reader.until(NUM_BEFORE)
            assert await worker.stop() == 0
        await delete_topic(kafka.bootstrap, topics.listed)
        await create_topics(topics.listed, num_partitions=4)
        await publish(kafka.bootstrap, topics.listed, map(listing, range(NUM_BEFORE, NUM_BEFORE + NUM_AFTER)))
        await the_rest_comes(kafka, topics, demo_repository, tmp_path / "second.log", reader)


async def num_assigned(worker: Worker) -> float:
    await worker.ready()
    return await worker.metric("shelver_assigned_total")


async def the_rest_comes(
    kafka: EmbeddedBroker, topics: Topics, repository: Path, log: Path, reader: OutputReader
) -> None:
    expected = {f"e-{number}" for number in range(NUM_BEFORE + NUM_AFTER)}
    with Worker(kafka.bootstrap, topics, repository, log=log) as worker:
        async with asyncio.timeout(60):
            # The worker before may have read of the new topic too, until it noticed.
            while set(reader.output.assigned) != expected or await num_assigned(worker) < NUM_AFTER:
                await reader.read(timeout_ms=500)
        assert await worker.stop() == 0
    offsets = await committed(kafka.bootstrap, topics)
    assert sum(offset or 0 for offset in offsets.values()) == NUM_AFTER
    assert all(len(set(ids)) == 1 for ids in reader.output.assigned.values())
