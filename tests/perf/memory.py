"""What memory a worker takes: behind a backlog of large listings, and over a long time.

    uv run python -m tests.perf.memory backlog REPOSITORY NAME --partitions 4 --partitions 32
    uv run python -m tests.perf.memory soak REPOSITORY NAME --seconds 600

Starts Kafka and a worker, and prints a table and one JSON object. Resident memory is the kernel's.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream_app.broker import EmbeddedBroker
from tests.integration.resident_memory import MB, MemoryWatch, large_listings, slope_mb_per_minute
from tests.integration.workers import OutputReader, Topics, Worker, publish

Repository = Annotated[Path, typer.Argument(help="Folder of the models.")]
Model = Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")]
LISTING_BYTES = 200_000

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def backlog(
    repository: Repository,
    model: Model,
    megabytes: Annotated[int, typer.Option(help="Of listings that wait before the worker starts.")] = 1024,
    partitions: Annotated[list[int], typer.Option(help="One run for each.")] = [4, 32],  # noqa: B006
) -> None:
    """A worker starts in front of a backlog of 200 KB listings."""
    _tell([asyncio.run(_backlog(repository, model, megabytes, each)) for each in partitions])


@app.command()
def soak(
    repository: Repository,
    model: Model,
    seconds: Annotated[float, typer.Option(help="How long listings flow.")] = 600,
    rate: Annotated[float, typer.Option(help="Listings a second; 200 KB each.")] = 40,
) -> None:
    """Listings flow steadily; the slope is taken from the second half."""
    _tell([asyncio.run(_soak(repository, model, seconds, rate))])


async def _backlog(repository: Path, model: str, megabytes: int, num_partitions: int) -> dict[str, Any]:
    num_listings = megabytes * MB // LISTING_BYTES
    topics = _topics()
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "kafka") as kafka:
        await _create(kafka, topics, num_partitions)
        await publish(kafka.bootstrap, topics.listed, large_listings(num_listings, LISTING_BYTES))
        async with OutputReader(kafka.bootstrap, topics) as reader:
            log = Path(folder) / "worker.log"
            with Worker(kafka.bootstrap, topics, repository, log=log, model=model) as worker:
                await worker.ready()
                began = time.monotonic()
                async with MemoryWatch(worker) as memory:
                    output = await reader.until(num_listings, seconds=1_800)
                seconds = time.monotonic() - began
                result = _result(f"{num_partitions} partitions", memory, len(output.assigned), seconds)
    return result


async def _soak(repository: Path, model: str, seconds: float, rate: float) -> dict[str, Any]:
    num_listings = int(seconds * rate)
    topics = _topics()
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "kafka") as kafka:
        await _create(kafka, topics, 4)
        async with OutputReader(kafka.bootstrap, topics) as reader:
            log = Path(folder) / "worker.log"
            with Worker(kafka.bootstrap, topics, repository, log=log, model=model) as worker:
                await worker.ready()
                began = time.monotonic()
                async with MemoryWatch(worker) as memory:
                    listings = large_listings(num_listings, LISTING_BYTES)
                    sending = publish(kafka.bootstrap, topics.listed, listings, per_second=rate)
                    _, output = await asyncio.gather(
                        sending, reader.until(num_listings, seconds=seconds + 600)
                    )
                took = time.monotonic() - began
                result = _result(f"{rate:g} a second", memory, len(output.assigned), took)
    return result


def _topics() -> Topics:
    return Topics("product-listed", "category-assigned", "dead", "requested", "explained", "memory")


async def _create(kafka: EmbeddedBroker, topics: Topics, num_partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        names = (topics.listed, topics.assigned, topics.dead)
        # Old segments go, so that a long soak does not fill the disk.
        configs = {"retention.bytes": str(2**30), "segment.bytes": str(2**26)}
        await admin.create_topics(
            [NewTopic(name, num_partitions, 1, topic_configs=configs) for name in names]
        )
    finally:
        await admin.close()


def _result(name: str, memory: MemoryWatch, num_assigned: int, seconds: float) -> dict[str, Any]:
    second_half = memory.samples[len(memory.samples) // 2 :]
    return {
        "run": name,
        "assigned": num_assigned,
        "seconds": round(seconds, 1),
        "ready_mb": round(memory.first_mb),
        "peak_mb": round(memory.peak_mb()),
        "last_mb": round(memory.last_mb),
        "slope_mb_per_minute": round(slope_mb_per_minute(second_half), 1),
    }


def _tell(results: list[dict[str, Any]]) -> None:
    typer.echo("".join(f"{name:>22}" for name in results[0]))
    for result in results:
        typer.echo("".join(f"{value!s:>22}" for value in result.values()))
    typer.echo(json.dumps(results))


if __name__ == "__main__":
    app()
