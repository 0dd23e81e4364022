"""How a worker starts, tells its health, and ends: exit codes that an orchestrator can act on."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_app.broker import EmbeddedBroker
from tests.conftest import TopicNames
from tests.integration.workers import OutputReader, Topics, Worker, committed, listing, publish


async def test_a_worker_is_live_at_once_and_ready_when_records_can_flow(
    kafka: EmbeddedBroker, topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics = Topics.named(topic_names)
    with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker:
        await worker.ready()
        status, body = worker.get("/readyz")
        report = json.loads(body)
        assert status == 200
        assert report["model"] == {"name": "demo", "version": "1"}
        read = (topics.corrected, topics.listed, topics.requested)
        assert report["partitions"] == [f"{topic}-{number}" for topic in read for number in range(4)]
        assert worker.get("/healthz")[0] == 200
        assert await worker.stop() == 0


async def test_faust_runs_the_same_worker(
    kafka: EmbeddedBroker, topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics = Topics.named(topic_names)
    faust = (str(Path(sys.executable).with_name("faust")), "-A", "stream_app.app", "worker")
    with Worker(
        kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker.log", command=faust
    ) as worker:
        await worker.ready()
        await publish(kafka.bootstrap, topics.listed, map(listing, range(50)))
        async with OutputReader(kafka.bootstrap, topics) as reader:
            await reader.until(50)
        assert await worker.stop() == 0
        assert sum(offset or 0 for offset in (await committed(kafka.bootstrap, topics)).values()) == 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "nobody@champion"}, "nobody"),
        ({"model": "demo@nowhere"}, "nowhere"),
        ({"shadow_model": "demo@@2"}, "names no model"),
        ({"max_batch": 0}, "SHELVER_MAX_BATCH"),
        ({"max_bacth": 8}, "did you mean SHELVER_MAX_BATCH"),
        ({"topic_replication": 3}, "SHELVER_TOPIC_REPLICATION"),
    ],
)
async def test_wrong_settings_end_the_worker_with_one_line_that_says_what_to_do(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    demo_repository: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    message: str,
) -> None:
    topics, log = Topics.named(topic_names), tmp_path / "worker.log"
    with Worker(kafka.bootstrap, topics, demo_repository, log=log, **settings) as worker:
        assert await worker.exit_code(seconds=60) == 2
    lines = log.read_text()
    assert message in lines.splitlines()[-1]
    assert "Traceback" not in lines


async def test_brokers_away_for_too_long_end_the_worker_and_nothing_is_acknowledged(
    topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics, num_listings = Topics.named(topic_names), 1_500
    settings: dict[str, Any] = {"publish_timeout_seconds": 3, "stop_seconds": 4}
    with EmbeddedBroker() as broker:
        with Worker(
            broker.bootstrap, topics, demo_repository, log=tmp_path / "first.log", **settings
        ) as worker:
            await worker.ready()
            await publish(broker.bootstrap, topics.listed, map(listing, range(num_listings)))
            while not await worker.metric("shelver_assigned_total"):
                await asyncio.sleep(0.05)
            await asyncio.to_thread(broker.kill)
            assert await worker.exit_code(seconds=60) == 1
        await asyncio.to_thread(broker.start)
        with Worker(broker.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as worker:
            async with OutputReader(broker.bootstrap, topics) as reader:
                output = await reader.until(num_listings)
            assert await worker.stop() == 0
    assert set(output.assigned) == {f"e-{number}" for number in range(num_listings)}


async def test_a_stop_during_the_start_ends_the_worker(
    topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics = Topics.named(topic_names)
    with Worker("127.0.0.1:9", topics, demo_repository, log=tmp_path / "worker.log") as worker:
        while not worker.get("/healthz")[0]:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert worker.get("/readyz")[0] == 503
        assert await worker.stop(seconds=15) == 0
