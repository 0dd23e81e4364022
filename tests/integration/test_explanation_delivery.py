"""No request for an explanation is lost: killed and stopped workers, brokers that go away."""

import asyncio
import signal
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.explanations import Explanations, product, request
from tests.integration.workers import Sent, Topics, Worker, publish

NUM_REQUESTS = 600
IN_THE_MIDDLE = 60


def requests() -> list[Sent]:
    """Each of a product of its own, so that none shares the work of another."""
    return [request(number, product=product(f"Lampe de chevet {number}")) for number in range(NUM_REQUESTS)]


def assert_all_answered(out: Explanations) -> None:
    assert set(out.answers) == {f"r-{number}" for number in range(NUM_REQUESTS)}
    assert not out.dead
    for answers in out.answers.values():
        assert len({answer.explanation_id for answer in answers}) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_a_worker_that_goes_in_the_middle_loses_no_request(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(
        topics.listed, topics.assigned, topics.dead, topics.requested, topics.explained, num_partitions=4
    )
    await publish(kafka.bootstrap, topics.requested, requests())
    async with Explanations(kafka.bootstrap, topics) as out:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "first.log") as worker:
            await out.until(IN_THE_MIDDLE)
            code = await worker.stop(number)
            assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as worker:
            await out.until(NUM_REQUESTS)
            assert await worker.stop() == 0
        assert_all_answered(out)
        if number is signal.SIGTERM:
            assert out.num_duplicates == 0


async def test_brokers_that_go_away_lose_no_request(
    topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics = Topics.named(topic_names)
    with (
        EmbeddedBroker() as broker,
        Worker(broker.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker,
    ):
        await worker.ready()
        publishing = asyncio.create_task(
            publish(broker.bootstrap, topics.requested, requests(), per_second=100)
        )
        while await worker.metric("shelver_explained_total") < IN_THE_MIDDLE:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(3)
        await asyncio.to_thread(broker.start)
        await publishing
        async with Explanations(broker.bootstrap, topics) as out:
            await out.until(NUM_REQUESTS)
            assert_all_answered(out)
        assert await worker.stop() == 0
