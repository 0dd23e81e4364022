"""A worker that gets nowhere says so and ends; one that only has nothing to do stays."""

import asyncio
import base64
import io
import json
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from PIL import Image

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration import faulty_worker
from tests.integration.resident_memory import MemoryWatch
from tests.integration.workers import OutputReader, Topics, Worker, committed, listing, publish


@pytest.fixture
async def topics(topic_names: TopicNames, create_topics: CreateTopics) -> Topics:
    named = Topics.named(topic_names)
    await create_topics(
        *(named.listed, named.assigned, named.dead, named.requested, named.explained, named.corrected),
        num_partitions=1,
    )
    return named


async def health_until_exit(worker: Worker) -> tuple[list[dict[str, object]], int]:
    """The reports that were red, and the exit code."""
    assert worker.process is not None
    red = []
    while worker.process.poll() is None:
        status, body = await asyncio.to_thread(worker.get, "/healthz")
        if status == 503:
            red.append(json.loads(body))
        await asyncio.sleep(0.1)
    return red, worker.process.returncode


async def test_a_worker_that_no_longer_fetches_turns_red_and_ends_and_the_next_one_goes_on(
    kafka: EmbeddedBroker, topics: Topics, demo_repository: Path, tmp_path: Path
) -> None:
    log = tmp_path / "first.log"
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(
            kafka.bootstrap,
            topics,
            demo_repository,
            log=log,
            command=faulty_worker.command("fetches_once"),
            stall_seconds=3,
        ) as worker:
            await publish(kafka.bootstrap, topics.listed, map(listing, range(100)))
            await reader.until(1)
            await publish(kafka.bootstrap, topics.listed, map(listing, range(100, 200)))
            red, code = await asyncio.wait_for(health_until_exit(worker), 60)
        assert code == 1
        assert f"{topics.listed}-0 has 100 records waiting" in str(red[0]["stands_still"])
        assert f"{topics.listed}-0 has 100 records waiting" in log.read_text().splitlines()[-1]
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log") as worker:
            output = await reader.until(200)
            assert await worker.stop() == 0
    assert set(output.assigned) == {f"e-{number}" for number in range(200)}


async def test_a_model_that_hangs_ends_the_worker_and_nothing_is_acknowledged(
    kafka: EmbeddedBroker, topics: Topics, demo_repository: Path, tmp_path: Path
) -> None:
    with Worker(
        kafka.bootstrap,
        topics,
        demo_repository,
        log=tmp_path / "worker.log",
        command=faulty_worker.command("model_hangs"),
        hang_seconds=3,
        publish_timeout_seconds=3,
        drain_seconds=1,
        stop_seconds=5,
        stall_seconds=8,
    ) as worker:
        await publish(kafka.bootstrap, topics.listed, map(listing, range(20)))
        red, code = await asyncio.wait_for(health_until_exit(worker), 60)
    assert code == 1
    assert f"a batch of {topics.listed} has been in flight" in str(red[0]["stands_still"])
    assert await committed(kafka.bootstrap, topics) == {0: None}


async def test_idle_and_standby_workers_stay_healthy_and_ready(
    kafka: EmbeddedBroker, topics: Topics, demo_repository: Path, tmp_path: Path
) -> None:
    workers = [
        Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / f"{number}.log", stall_seconds=1)
        for number in range(4)
    ]
    with workers[0], workers[1], workers[2], workers[3]:
        for worker in workers:
            await worker.ready()
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(MemoryWatch(worker)) for worker in workers]
            until = time.monotonic() + 5
            while time.monotonic() < until:
                for worker in workers:
                    assert worker.get("/healthz")[0] == 200
                await asyncio.sleep(0.2)
        assert max(watch.cpu_percent for watch in watches) < 25, "of a core, for nothing"
        reports = [json.loads(worker.get("/readyz")[1]) for worker in workers]
        assert [report["healthy"] for report in reports] == [True] * 4
        assert min(len(report["partitions"]) for report in reports) == 0, "one of them is a standby"
        for worker in workers:
            assert worker.process is not None
            worker.process.terminate()
        assert [await worker.exit_code(seconds=30) for worker in workers] == [0] * 4


async def test_brokers_that_do_not_answer_are_no_stall(
    topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    topics = Topics.named(topic_names)
    with (
        EmbeddedBroker() as broker,
        Worker(
            broker.bootstrap, topics, demo_repository, log=tmp_path / "worker.log", stall_seconds=1
        ) as worker,
    ):
        await worker.ready()
        await publish(broker.bootstrap, topics.listed, map(listing, range(3_000)))
        await asyncio.to_thread(broker.kill)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            assert worker.get("/healthz")[0] == 200
            await asyncio.sleep(0.2)
        await asyncio.to_thread(broker.start)
        async with OutputReader(broker.bootstrap, topics) as reader:
            await reader.until(3_000)
        assert worker.get("/healthz")[0] == 200
        assert await worker.stop() == 0


def large_jpeg() -> str:
    """24 megapixels in few bytes, as base64."""
    file = io.BytesIO()
    Image.new("RGB", (6_000, 4_000), (90, 120, 200)).save(file, "JPEG", quality=30, optimize=True)
    return base64.b64encode(file.getvalue()).decode()


async def test_large_pictures_and_a_slow_model_keep_the_loop_and_the_group_going(
    kafka: EmbeddedBroker, topics: Topics, demo_repository: Path, tmp_path: Path
) -> None:
    image, waits = {"data": large_jpeg()}, []
    with Worker(
        kafka.bootstrap,
        topics,
        demo_repository,
        log=tmp_path / "worker.log",
        command=faulty_worker.command("slow_model"),
        session_timeout_seconds=6,
        max_batch=64,
        max_delay_ms=500,
        max_batch_bytes=64 * 2**20,
    ) as worker:
        await worker.ready()
        async with OutputReader(kafka.bootstrap, topics) as reader:
            records = [listing(number, image=image) for number in range(64)]
            publishing = asyncio.create_task(publish(kafka.bootstrap, topics.listed, records))
            while await worker.metric("shelver_assigned_total") < 64:
                for path in ("/metrics", "/healthz"):
                    asked = time.monotonic()
                    status, _ = await asyncio.to_thread(worker.get, path)
                    waits.append(time.monotonic() - asked)
                    assert status == 200
                await asyncio.sleep(0.1)
            await publishing
            output = await reader.until(64)
        lag = await worker.metric("shelver_event_loop_lag_seconds")
        _, exposition = await asyncio.to_thread(worker.get, "/metrics")
        print(f"loop lag {lag:.3f} s, {len(waits)} answers, median {statistics.median(waits):.3f} s")
        assert await worker.stop() == 0
    assert statistics.median(waits) < 0.5
    assert lag < 2, "heartbeats are due every 1.2 s, the session ends after 6 s"
    assert output.num_duplicates == 0
    assert not output.dead
    assert 'shelver_images_total{outcome="used"} 64.0' in exposition
    assert "rebalanc" not in (tmp_path / "worker.log").read_text()
