"""What explanations cost the categories: their age with and without 200 requests beside them.

    uv run python -m tests.perf.explanation_load REPOSITORY NAME CATALOGUE

Starts Kafka and a worker, publishes listings at a steady rate twice, the second time with requests to explain
some of them, and prints a table and one JSON object. Both halves are one run, so their ratio can be reported.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.catalogue import read_catalogue
from schemas.codec import encode
from schemas.products import ProductListed
from stream_app.broker import EmbeddedBroker
from tests.integration.workers import Topics, Worker

TOPICS = Topics(
    "product-listed", "category-assigned", "dead", "explanation-requested", "category-explained", "load"
)


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    catalogue: Annotated[Path, typer.Argument(help="Whatever shelver publish reads.")],
    rate: Annotated[float, typer.Option(help="Listings a second.")] = 50,
    seconds: Annotated[float, typer.Option(help="Of each half.")] = 20,
    requests: Annotated[int, typer.Option(help="To explain, spread over the second half.")] = 200,
) -> None:
    """Measure the age of categories at their publication, by the brokers' clocks."""
    listings = [
        row.to_listing(f"e-{number}")
        for number, row in enumerate(islice(read_catalogue(catalogue), int(2 * rate * seconds)))
    ]
    result = asyncio.run(_run(repository, model, listings, rate, requests))
    for name, ages in result.items():
        typer.echo(f"{name:24}{ages}")
    typer.echo(json.dumps(result))


async def _run(
    repository: Path, model: str, listings: Sequence[ProductListed], rate: float, num_requests: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "kafka") as kafka:
        log = Path(folder) / "worker.log"
        with Worker(kafka.bootstrap, TOPICS, repository, log=log, model=model) as worker:
            await worker.ready()
            consumer = AIOKafkaConsumer(
                TOPICS.assigned,
                TOPICS.explained,
                bootstrap_servers=kafka.bootstrap,
                auto_offset_reset="earliest",
            )
            async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer, consumer:
                middle = len(listings) // 2
                warm = await _half(producer, consumer, listings[:50], rate, 0)
                alone = await _half(producer, consumer, listings[50:middle], rate, 0)
                beside = await _half(producer, consumer, listings[middle:], rate, num_requests)
    del warm
    return {
        "alone": _summary(alone["categories"]),
        "with explanations": _summary(beside["categories"]),
        "explanations": _summary(beside["explanations"]),
        "p99_ratio": round(
            float(np.percentile(beside["categories"], 99) / np.percentile(alone["categories"], 99)), 2
        ),
    }


async def _half(
    producer: AIOKafkaProducer,
    consumer: AIOKafkaConsumer,
    listings: Sequence[ProductListed],
    rate: float,
    num_requests: int,
) -> dict[str, list[float]]:
    asked = (
        set(np.linspace(0, len(listings) - 1, num_requests).astype(int).tolist()) if num_requests else set()
    )
    sent_at: dict[str, float] = {}
    began = time.time()
    for number, listing in enumerate(listings):
        await asyncio.sleep(max(0.0, began + number / rate - time.time()))
        sent_at[listing.event_id] = time.time()
        key = listing.product_id.encode()
        await producer.send(TOPICS.listed, key=key, value=encode(listing))
        if number in asked:
            body = {"request_id": f"r-{listing.event_id}", "product": listing.model_dump(mode="json")}
            sent_at[f"r-{listing.event_id}"] = time.time()
            await producer.send(TOPICS.requested, key=key, value=json.dumps(body).encode())
    ages: dict[str, list[float]] = {"categories": [], "explanations": []}
    while len(ages["categories"]) < len(listings) or len(ages["explanations"]) < len(asked):
        for partition, records in (await consumer.getmany(timeout_ms=1_000)).items():
            for record in records:
                message = json.loads(record.value)
                is_answer = partition.topic == TOPICS.explained
                name = message["request_id"] if is_answer else message["event_id"]
                age_ms = record.timestamp - 1e3 * sent_at[name]
                ages["explanations" if is_answer else "categories"].append(age_ms)
    return ages


def _summary(ages_ms: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(ages_ms, [50, 99])
    return {"count": len(ages_ms), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}


if __name__ == "__main__":
    typer.run(main)
