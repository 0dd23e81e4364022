r"""What memory a worker takes: behind a backlog of large listings, and over a long time.

    uv run python -m tests.perf.memory backlog REPOSITORY NAME --partitions 4 --partitions 32
    uv run python -m tests.perf.memory soak REPOSITORY NAME --seconds 600
    uv run python -m tests.perf.memory soak REPOSITORY NAME --seconds 600 --workers 3 --partitions 1 \
        --rate 200 --listing-bytes 20000

Starts Kafka and workers, and prints a table and one JSON object. Resident memory is the kernel's; CPU is what
a worker took of one core.
"""

import asyncio
import json
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Load:
    """Listings that flow through a group of workers."""

    seconds: float
    rate: float
    listing_bytes: int
    num_workers: int
    num_partitions: int


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
    *,
    seconds: Annotated[float, typer.Option(help="How long listings flow.")] = 600,
    rate: Annotated[float, typer.Option(help="Listings a second; 0 leaves the workers idle.")] = 40,
    listing_bytes: Annotated[int, typer.Option(help="Of each listing, a picture included.")] = LISTING_BYTES,
    workers: Annotated[int, typer.Option(help="Of one group.")] = 1,
    partitions: Annotated[int, typer.Option(help="Fewer than workers leave some on standby.")] = 4,
) -> None:
    """Listings flow steadily; the slope is taken from the second half."""
    load = Load(seconds, rate, listing_bytes, workers, partitions)
    _tell(asyncio.run(_soak(repository, model, load)))


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
                async with MemoryWatch(worker) as memory:
                    output = await reader.until(num_listings, seconds=1_800)
                return {"assigned": len(output.assigned), **_result(f"{num_partitions} partitions", memory)}


async def _soak(repository: Path, model: str, load: Load) -> list[dict[str, Any]]:
    num_listings = int(load.seconds * load.rate)
    topics = _topics()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = stack.enter_context(EmbeddedBroker(folder / "kafka"))
        await _create(kafka, topics, load.num_partitions)
        reader = await stack.enter_async_context(OutputReader(kafka.bootstrap, topics))
        workers = [
            stack.enter_context(
                Worker(kafka.bootstrap, topics, repository, log=folder / f"{number}.log", model=model)
            )
            for number in range(load.num_workers)
        ]
        await asyncio.gather(*(worker.ready() for worker in workers))
        async with AsyncExitStack() as watches:
            memory = [await watches.enter_async_context(MemoryWatch(worker)) for worker in workers]
            listings = large_listings(num_listings, load.listing_bytes)
            await asyncio.gather(
                publish(kafka.bootstrap, topics.listed, listings, per_second=load.rate or None),
                reader.until(num_listings, seconds=load.seconds + 600),
                asyncio.sleep(load.seconds),
            )
        return [_result(f"worker {number}", each) for number, each in enumerate(memory, 1)]


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


def _result(name: str, memory: MemoryWatch) -> dict[str, Any]:
    second_half = memory.samples[len(memory.samples) // 2 :]
    return {
        "run": name,
        "seconds": round(memory.samples[-1][0], 1),
        "ready_mb": round(memory.first_mb),
        "peak_mb": round(memory.peak_mb()),
        "last_mb": round(memory.last_mb),
        "slope_mb_per_minute": round(slope_mb_per_minute(second_half), 1),
        "cpu_percent": round(memory.cpu_percent, 1),
    }


def _tell(results: list[dict[str, Any]]) -> None:
    typer.echo("".join(f"{name:>22}" for name in results[0]))
    for result in results:
        typer.echo("".join(f"{value!s:>22}" for value in result.values()))
    typer.echo(json.dumps(results))


if __name__ == "__main__":
    app()
