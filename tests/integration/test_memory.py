"""A worker takes as much memory behind a large backlog as behind a small one."""

from pathlib import Path
from typing import Any

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.resident_memory import MB, MemoryWatch, large_listings
from tests.integration.workers import OutputReader, Topics, Worker, publish

LISTING_BYTES = 200_000
NUM_LISTINGS = 1_000
"""200 MB."""
LIMITS: dict[str, Any] = {
    "max_batch": 8,
    "max_batch_bytes": 2 * MB,
    "max_buffered_bytes": 4 * MB,
    "max_prefetch_bytes": 4 * MB,
    "max_fetch_bytes": MB,
}
GROWTH_MB = 200
"""Of it, 16 MB are records; the rest is what decoding and the network take for batches of 8."""


async def test_a_backlog_of_large_listings_does_not_fill_the_memory(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=16)
    await publish(kafka.bootstrap, topics.listed, large_listings(NUM_LISTINGS, LISTING_BYTES))
    log = tmp_path / "worker.log"
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=log, **LIMITS) as worker:
            await worker.ready()
            async with MemoryWatch(worker) as memory:
                output = await reader.until(NUM_LISTINGS, seconds=240)
            peak_mb = memory.peak_mb()
            assert await worker.stop() == 0
    assert len(output.assigned) == NUM_LISTINGS
    used = sum(message["modalities"]["image"] == "used" for message in output.messages)  # type: ignore[index]
    assert used == len(output.messages)
    assert peak_mb - memory.first_mb < GROWTH_MB, [round(mb) for _, mb in memory.samples]
