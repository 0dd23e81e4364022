"""A dead-letter topic that takes no letters: the worker ends and says so, and nothing is acknowledged."""

import asyncio
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import OutputReader, Sent, Topics, Worker, committed, listing, publish

BAD: Sent = (b"bad", b"no JSON" * 40_000, [])


async def test_a_topic_that_takes_only_small_records_is_named_with_what_to_do(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, log = Topics.named(topic_names), tmp_path / "worker.log"
    await create_topics(topics.listed, topics.assigned, num_partitions=1)
    await create_topics(topics.dead, configs={"max.message.bytes": "100000"})
    await publish(kafka.bootstrap, topics.listed, [BAD])
    with Worker(kafka.bootstrap, topics, demo_repository, log=log) as worker:
        assert await worker.exit_code(seconds=60) == 1
    last = log.read_text().splitlines()[-1]
    assert f"too large for topic {topics.dead}: raise max.message.bytes" in last
    assert await committed(kafka.bootstrap, topics) == {0: None}


async def test_a_topic_that_is_deleted_while_a_worker_runs_is_made_by_the_next_one_and_nothing_lost(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=1)
    log = tmp_path / "first.log"
    with Worker(
        kafka.bootstrap, topics, demo_repository, log=log, publish_timeout_seconds=5, drain_seconds=2
    ) as worker:
        await worker.ready()
        await delete(kafka, topics.dead)
        await missing_in_readiness(worker, topics.dead)
        await publish(kafka.bootstrap, topics.listed, [listing(1), BAD, listing(2)])
        assert await worker.exit_code(seconds=60) == 1
    with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as worker:
        await worker.ready()
        async with OutputReader(kafka.bootstrap, topics) as reader:
            output = await reader.until(3)
        assert await worker.stop() == 0
    assert set(output.assigned) == {"e-1", "e-2"}
    assert [value for _, value, _ in output.dead] == [BAD[1]]
    assert await committed(kafka.bootstrap, topics) == {0: 3}


async def delete(kafka: EmbeddedBroker, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


async def missing_in_readiness(worker: Worker, topic: str) -> None:
    async with asyncio.timeout(30):
        while True:
            status, body = await asyncio.to_thread(worker.get, "/readyz")
            if status == 503 and topic in body:
                return
            await asyncio.sleep(0.2)
