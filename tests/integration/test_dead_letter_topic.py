"""A dead-letter topic that does not take a letter: the worker ends, says why, and nothing is lost."""

import asyncio
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import OutputReader, Topics, Worker, committed, listing, publish

SMALL_BYTES = 100_000


async def test_a_letter_that_is_too_large_for_its_topic_ends_the_worker_and_its_advice_helps(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, log = Topics.named(topic_names), tmp_path / "first.log"
    await create_topics(topics.listed, topics.assigned, topics.requested, topics.explained)
    await create_topics(topics.dead, configs={"max.message.bytes": str(SMALL_BYTES)})
    await publish(kafka.bootstrap, topics.listed, [(b"bad", b"x" * (SMALL_BYTES + 1), []), listing(1)])
    with Worker(kafka.bootstrap, topics, demo_repository, log=log) as worker:
        assert await worker.exit_code(seconds=60) == 1
    advice = f"raise max.message.bytes of topic {topics.dead} or lower SHELVER_PUBLISH_BATCH_BYTES"
    assert advice in log.read_text()
    assert not (await committed(kafka.bootstrap, topics))[0]

    log, lower = tmp_path / "second.log", SMALL_BYTES * 9 // 10
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=log, publish_batch_bytes=lower) as worker:
            output = await reader.until(2)
            assert await worker.stop() == 0
    assert set(output.assigned) == {"e-1"}
    assert [headers["shelver.original-size"] for _, _, headers in output.dead] == [b"100001"]
    assert await committed(kafka.bootstrap, topics) == {0: 2}


async def test_letters_outlive_a_dead_letter_topic_that_is_deleted(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, log = Topics.named(topic_names), tmp_path / "first.log"
    await create_topics(topics.listed, topics.assigned, topics.dead, topics.requested, topics.explained)
    short: dict[str, Any] = {"publish_timeout_seconds": 3, "stop_seconds": 5}
    with Worker(kafka.bootstrap, topics, demo_repository, log=log, **short) as worker:
        await worker.ready()
        await publish(kafka.bootstrap, topics.listed, [(b"bad", b"first", []), listing(1)])
        async with OutputReader(kafka.bootstrap, topics) as reader:
            await reader.until(2)
        await delete(kafka, topics.dead)
        async with asyncio.timeout(30):
            while topics.dead not in (await asyncio.to_thread(worker.get, "/readyz"))[1]:
                await asyncio.sleep(0.2)
        assert worker.get("/healthz")[0] == 200
        await publish(kafka.bootstrap, topics.listed, [(b"bad", b"second", []), listing(2)])
        assert await worker.exit_code(seconds=60) == 1
    assert f"topic {topics.dead}" in log.read_text().splitlines()[-1]
    assert (await committed(kafka.bootstrap, topics))[0] == 2

    with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as worker:
        await worker.ready()
        async with OutputReader(kafka.bootstrap, topics) as reader:
            output = await reader.until(3)
        assert await worker.stop() == 0
    assert [value for _, value, _ in output.dead] == [b"second"]
    assert set(output.assigned) == {"e-1", "e-2"}
    assert await committed(kafka.bootstrap, topics) == {0: 4}


async def delete(kafka: EmbeddedBroker, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
