"""What each step of the road costs alone: events a second, and processor time an event.

    uv run python -m tests.perf.stages REPOSITORY NAME

Texts are those of the sample catalogue, pictures are drawn. Each step gets what the step before has made of
the same listings, in batches as the worker forms them; publishing goes to an embedded Kafka. The slowest step
is the ceiling of the stream. Prints a table and one JSON object.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord

from models.repository import ModelRepository
from models.runtime import Classifier, resolve_device
from schemas.codec import DEFAULT_MAX_MESSAGE_BYTES
from stream_app.acknowledgement import TopicPartition
from stream_app.assigning import outgoing
from stream_app.batching import BatchFormer, BatchSettings, Fetched, Record
from stream_app.broker import EmbeddedBroker
from stream_app.inference import score_listings
from stream_app.preparing import decode_records, prepare_listings
from stream_app.publishing import Publisher, PublishSettings
from tests.perf.traffic import Traffic

LISTED, ASSIGNED = "product-listed", "category-assigned"
NUM_PARTITIONS = 4
MEASURED_KINDS = ("text", "picture-15kb", "picture-150kb")

Step = Callable[[Any], Any]


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    *,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 3.0,
    max_batch: Annotated[int, typer.Option(help="Listings of one batch.")] = 64,
    threads: Annotated[int, typer.Option(help="That decode pictures.")] = 2,
) -> None:
    """Measure the steps with texts, small and large pictures."""
    classifier = Classifier.load(ModelRepository(repository).resolve(model).folder, resolve_device(device))
    classifier.warm_up(max_batch)
    results = measure(classifier, max_batch=max_batch, threads=threads, seconds=seconds)
    typer.echo("".join(f"{name:>18}" for name in results[0]))
    for result in results:
        typer.echo("".join(f"{value!s:>18}" for value in result.values()))
    typer.echo(json.dumps(results))


def measure(
    classifier: Classifier, *, max_batch: int = 64, threads: int = 2, seconds: float = 3.0
) -> list[dict[str, Any]]:
    """Events a second and processor time an event of every step, for each kind of listings."""
    results = []
    with ThreadPoolExecutor(threads) as executor:
        for kind in MEASURED_KINDS:
            records = listing_records(8 * max_batch, kind)
            measured = asyncio.run(_measure(records, classifier, executor, max_batch, seconds))
            results += [{"listings": kind, **row} for row in measured]
    return results


def listing_records(num_records: int, kind: str) -> list[Record]:
    """Listings as a consumer hands them over, spread over the partitions."""
    return [_record(number, *sent) for number, sent in enumerate(Traffic(kind).take(num_records))]


def _record(number: int, key: bytes, value: bytes) -> Record:
    offset, partition = divmod(number, NUM_PARTITIONS)
    now_ms = int(time.time() * 1000)
    record: Record = ConsumerRecord(
        LISTED, partition, offset, now_ms, 0, key, value, None, len(key), len(value), headers=()
    )
    return record


async def _measure(
    records: list[Record],
    classifier: Classifier,
    executor: ThreadPoolExecutor,
    max_batch: int,
    seconds: float,
) -> list[dict[str, Any]]:
    settings = BatchSettings(max_batch=max_batch)
    steps: dict[str, Step] = {
        "decode": lambda batch: decode_records(batch, max_bytes=DEFAULT_MAX_MESSAGE_BYTES),
        "prepare": lambda decoded: prepare_listings(decoded, classifier, {}, executor),
        "forward": lambda prepared: score_listings(prepared, classifier),
        "serialise": lambda scored: outgoing(scored, topic=ASSIGNED, source="/shelver"),
    }
    forming = await _timed(_async(lambda _: form(records, settings)), [None], seconds)
    measured = [_per_event("form batches", len(records), *forming)]
    stage: Sequence[Any] = form(records, settings)
    num_events = len(records) / len(stage)
    for name, step in steps.items():
        measured.append(_per_event(name, num_events, *await _timed(_async(step), stage, seconds)))
        stage = [step(batch) for batch in stage]
    measured.append(await _publishing(stage, num_events, seconds))
    return measured


def form(records: Sequence[Record], settings: BatchSettings) -> list[tuple[Record, ...]]:
    """Batches of records that come as one fetch a partition."""
    former = BatchFormer(settings)
    for number in range(NUM_PARTITIONS):
        mine = [record for record in records if record.partition == number]
        former.add(Fetched(TopicPartition(LISTED, number), 1, mine), 0.0)
    batches = []
    while former.num_records:
        batches.append(former.take().records)
    return batches


async def _publishing(stage: Sequence[Any], num_events: float, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "kafka") as kafka:
        connection = {"bootstrap_servers": kafka.bootstrap}
        admin = AIOKafkaAdminClient(**connection)
        await admin.start()
        await admin.create_topics([NewTopic(name, NUM_PARTITIONS, 1) for name in (LISTED, ASSIGNED)])
        await admin.close()
        publisher = Publisher(PublishSettings(), connection)
        await publisher.start()
        try:
            publish = await _timed(lambda batch: _publish(publisher, batch), stage, seconds)
        finally:
            await publisher.stop()
    return _per_event("publish", num_events, *publish)


async def _publish(publisher: Publisher, batch: Any) -> None:
    await publisher.confirm(await publisher.send(batch))


def _async(step: Step) -> Callable[[Any], Awaitable[None]]:
    async def work(batch: Any) -> None:
        step(batch)

    return work


async def _timed(
    work: Callable[[Any], Awaitable[None]], batches: Sequence[Any], seconds: float
) -> tuple[float, float]:
    """Seconds, and seconds of the processor, that one batch takes."""
    await work(batches[0])
    num_batches, began, cpu_began = 0, time.perf_counter(), time.process_time()
    for batch in cycle(batches):
        await work(batch)
        num_batches += 1
        if time.perf_counter() - began > seconds:
            break
    return (time.perf_counter() - began) / num_batches, (time.process_time() - cpu_began) / num_batches


def _per_event(name: str, num_events: float, batch_seconds: float, cpu_seconds: float) -> dict[str, Any]:
    return {
        "step": name,
        "events_per_s": round(num_events / batch_seconds),
        "cpu_us_per_event": round(1e6 * cpu_seconds / num_events, 1),
    }


if __name__ == "__main__":
    typer.run(main)
