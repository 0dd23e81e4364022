"""What changing the model costs while a worker serves: pauses, age of categories, memory.

    uv run python -m tests.perf.reloads REPOSITORY NAME

Starts Kafka and a worker, publishes texts at a steady rate for as long without a change of the model as with
one every few seconds, and prints a table and one JSON object. The pause of a change is the time between the
last category of the version before and the first one of the version after; it is to be compared with how long
a batch takes, and with the longest time between two categories while nothing is changed.
"""

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from models.bundle import BundleMetadata, read_bundle, write_bundle
from models.repository import ModelRepository
from stream_app.broker import EmbeddedBroker
from tests.integration.workers import Topics, Worker
from tests.perf.loads import running, steadily
from tests.perf.traffic import Sent, Traffic

TOPICS = Topics(
    "product-listed", "category-assigned", "dead", "explanation-requested", "category-explained", "load"
)
STEPS = ("decode", "prepare", "inference", "publish")


@dataclass(frozen=True)
class Answer:
    """One category: by which version, when, and how old its listing was."""

    version: str
    at_ms: float
    age_ms: float


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    rate: Annotated[float, typer.Option(help="Listings a second.")] = 300,
    changes: Annotated[int, typer.Option(help="Of the model.")] = 50,
    seconds: Annotated[float, typer.Option(help="Between two changes.")] = 3,
) -> None:
    """Measure pauses, ages by the brokers' clocks, and resident memory."""
    with tempfile.TemporaryDirectory() as folder:
        twins = _twins(repository, model, Path(folder) / "repository")
        result = asyncio.run(_run(twins, Path(folder), rate, changes, seconds))
    for name, found in result.items():
        typer.echo(f"{name:28}{found}")
    typer.echo(json.dumps(result))


def _twins(repository: Path, model: str, root: Path) -> ModelRepository:
    """A repository with the same version twice."""
    bundle = read_bundle(ModelRepository(repository).resolve(model).folder)
    metadata = BundleMetadata(golden=bundle.golden.products, metrics=bundle.metrics)
    for version in ("1", "2"):
        folder = root / "twin" / version
        write_bundle(folder, bundle.network, bundle.labels, name="twin", version=version, metadata=metadata)
    twins = ModelRepository(root)
    twins.promote("twin@1", "champion")
    return twins


async def _run(
    twins: ModelRepository, folder: Path, rate: float, num_changes: int, seconds: float
) -> dict[str, Any]:
    with EmbeddedBroker(folder / "kafka") as kafka:
        settings: Mapping[str, Any] = {"model": "twin@champion", "model_reload_seconds": 0.2}
        with Worker(
            kafka.bootstrap, TOPICS, Path(twins.root), log=folder / "worker.log", **settings
        ) as worker:
            await worker.ready()
            consumer = AIOKafkaConsumer(
                TOPICS.assigned, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
            )
            async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer, consumer:
                load = _Load(producer, consumer, Traffic("text"), rate)
                await load.listings(2)
                quiet = await load.listings(num_changes * seconds)
                changing = asyncio.create_task(_change(twins, worker, num_changes, seconds))
                changed = await load.listings(num_changes * seconds + 1)
                memory = await changing
            batch_ms = await _batch_ms(worker)
            num_swapped = await worker.metric('shelver_model_reloads_total{outcome="swapped",role="serving"}')
    return {
        "changes": num_swapped,
        "batch_mean_ms": round(batch_ms, 1),
        "pauses_ms": _percentiles(_pauses(changed)),
        "gaps_ms_without_changes": _percentiles(_gaps(quiet)),
        "gaps_ms_with_changes": _percentiles(_gaps(changed)),
        "age_ms_without_changes": _percentiles([each.age_ms for each in quiet]),
        "age_ms_with_changes": _percentiles([each.age_ms for each in changed]),
        "resident_mib": memory,
    }


async def _change(
    twins: ModelRepository, worker: Worker, num_changes: int, seconds: float
) -> dict[str, float]:
    """Resident memory after some of the changes."""
    memory = {"before": _resident_mib(worker)}
    for number in range(num_changes):
        twins.promote(f"twin@{2 - number % 2}", "champion")
        await asyncio.sleep(seconds)
        if number + 1 in {5, num_changes // 2, num_changes}:
            memory[f"after {number + 1}"] = _resident_mib(worker)
    return memory


class _Load:
    """Publishes texts and reads what comes of them."""

    def __init__(
        self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, traffic: Traffic, rate: float
    ) -> None:
        self._producer = producer
        self._consumer = consumer
        self._traffic = traffic
        self._rate = rate

    async def listings(self, seconds: float) -> list[Answer]:
        """Publish for so long; the answers in the order they were given."""
        listings = self._traffic.take(int(seconds * self._rate))
        sent: list[asyncio.Future[Any]] = []

        async def send(due: Sequence[Sent]) -> None:
            for key, value in due:
                sent.append(await self._producer.send(TOPICS.listed, key=key, value=value))

        _, answers = await asyncio.gather(steadily(listings, self._rate, send), self._answers(len(listings)))
        places = [await each for each in sent]
        came_in = {(each.partition, each.offset): each.timestamp for each in places}
        return sorted(
            (
                Answer(
                    message["model"]["version"],
                    1e3 * datetime.fromisoformat(message["assigned_at"]).timestamp(),
                    at_ms - came_in[message["source"]["partition"], message["source"]["offset"]],
                )
                for at_ms, message in answers
            ),
            key=lambda answer: answer.at_ms,
        )

    async def _answers(self, num_answers: int) -> list[tuple[int, Any]]:
        answers: list[tuple[int, Any]] = []
        while len(answers) < num_answers:
            for records in (await self._consumer.getmany(timeout_ms=1_000)).values():
                answers += [(record.timestamp, json.loads(record.value)) for record in records]
        return answers


def _pauses(answers: Sequence[Answer]) -> list[float]:
    """Between the last category of a version and the first of the next; 0 where they overlap."""
    return [
        max(0.0, after.at_ms - before.at_ms)
        for before, after in pairwise(answers)
        if before.version != after.version
    ]


def _gaps(answers: Sequence[Answer]) -> list[float]:
    """Between categories that were given one after the other, those of one batch apart."""
    times = sorted({each.at_ms for each in answers})
    return [after - before for before, after in pairwise(times)]


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    found = np.percentile(values, [50, 99, 100])
    return {name: round(float(each), 1) for name, each in zip(("p50", "p99", "max"), found, strict=True)}


async def _batch_ms(worker: Worker) -> float:
    """How long a batch takes on the mean, from decoding to its confirmation."""
    total = 0.0
    for step in STEPS:
        seconds = await worker.metric(f'shelver_stage_seconds_sum{{stage="{step}"}}')
        total += seconds / await worker.metric(f'shelver_stage_seconds_count{{stage="{step}"}}')
    return 1e3 * total


def _resident_mib(worker: Worker) -> float:
    return round(running(worker).memory_info().rss / 2**20, 1)


if __name__ == "__main__":
    typer.run(main)
