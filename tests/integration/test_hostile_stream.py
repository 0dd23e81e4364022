"""Ten thousand records of a hostile producer: each leaves one way, the worker lives and does not grow."""

import asyncio
import json
import os
from pathlib import Path
from statistics import median

import psutil

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.hostile_listings import hostile_records
from tests.integration.workers import OutputReader, Topics, Worker, listing, publish

NUM_RECORDS = int(os.environ.get("SHELVER_TEST_HOSTILE_RECORDS", "10000"))
SEED = 7
SLOPE_MB = 60
"""What the middle of the second half may take more than that of the first."""
LARGEST_MB = 2_000
"""A worker with the demo's model takes 1,100 MB, a picture of 25 megapixels 500 MB on top."""


async def test_ten_thousand_hostile_records_leave_as_categories_dead_letters_or_delistings(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=4)
    records = list(hostile_records(NUM_RECORDS, SEED))
    num_delistings = sum(value is None for _, value, _ in records)
    num_expected = NUM_RECORDS - num_delistings
    memory_mb: list[tuple[int, float]] = []
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker:
            await worker.ready()
            await publish(kafka.bootstrap, topics.listed, records)
            watching = asyncio.create_task(watch_memory(worker, reader, memory_mb))
            output = await reader.until(num_expected, seconds=240)
            watching.cancel()
            await publish(kafka.bootstrap, topics.listed, [listing(1)])
            await reader.until(num_expected + 1)
            await worker.has_counted()
            delisted = await worker.metric('shelver_records_consumed_total{outcome="delisting"}')
            assert delisted == num_delistings
            assert worker.get("/healthz")[0] == worker.get("/readyz")[0] == 200
            assert await worker.stop() == 0

    # By source: a damaged record may have the event id of another.
    assert len(output.messages) + len(output.dead) == len(output.sources) == num_expected + 1
    assert len(output.messages) > NUM_RECORDS / 2
    assert len(output.dead) > NUM_RECORDS / 10
    for message in output.messages:
        assert "\\u0000" not in json.dumps(message, allow_nan=False)
    halves = [
        [mb for num_done, mb in memory_mb if (num_done < num_expected / 2) is first]
        for first in (True, False)
    ]
    told = f"{[round(mb) for _, mb in memory_mb]} MB"
    assert median(halves[1]) < median(halves[0]) + SLOPE_MB, told
    assert max(mb for _, mb in memory_mb) < LARGEST_MB, told


async def watch_memory(worker: Worker, reader: OutputReader, memory_mb: list[tuple[int, float]]) -> None:
    """Note how much is done and how much memory the worker takes, again and again."""
    assert worker.process is not None
    process = psutil.Process(worker.process.pid)
    while True:
        memory_mb.append((len(reader.output.sources), process.memory_info().rss / 2**20))
        await asyncio.sleep(0.1)
