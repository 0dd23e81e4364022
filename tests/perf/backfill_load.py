"""What a backfill costs the categories: their age with and without one beside them.

    uv run python -m tests.perf.backfill_load REPOSITORY NAME --kind text --share 0.25

Starts Kafka and a worker, has it answer a backlog, then publishes listings at a steady rate, by turns alone
and with a backfill of that backlog beside it. Prints a table and one JSON object. All halves are one run, so
ratios of them can be reported.
"""

import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_app.broker import EmbeddedBroker
from tests.integration.workers import Topics, Worker
from tests.perf.loads import Latency
from tests.perf.results import conditions
from tests.perf.stream_load import NUM_PARTITIONS, StreamLoad, create_topics
from tests.perf.traffic import KINDS, Traffic

TOPICS = Topics(
    "product-listed", "category-assigned", "dead", "explanation-requested", "category-explained", "load"
)
OUTPUT = "category-assigned.backfill"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    repository: Path
    model: str
    kind: str
    backlog: int
    rate: float
    seconds: float
    rounds: int
    share: float


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    *,
    kind: Annotated[str, typer.Option(help=f"Of the listings: {', '.join(KINDS)}.")] = "text",
    backlog: Annotated[int, typer.Option(help="Listings that there are to score again.")] = 40_000,
    rate: Annotated[float, typer.Option(help="Live listings a second.")] = 100,
    seconds: Annotated[float, typer.Option(help="Of each half.")] = 15,
    rounds: Annotated[int, typer.Option(help="Halves of each kind.")] = 3,
    share: Annotated[float, typer.Option(help="Of the time, for the backfill.")] = 0.25,
) -> None:
    """Measure the age of categories at their publication, by the broker's clock."""
    plan = Plan(repository, model, kind, backlog, rate, seconds, rounds, share)
    alone, beside, scored_again = asyncio.run(_run(plan))
    typer.echo("| | live p50, ms | live p99, ms | scored again a second |\n| --- | --- | --- | --- |")
    for name, halves, speeds in (("alone", alone, [0.0]), ("beside a backfill", beside, scored_again)):
        p50, p99 = (
            statistics.median(getattr(each, name) for each in halves) for name in ("p50_ms", "p99_ms")
        )
        typer.echo(f"| {name} | {p50:.0f} | {p99:.0f} | {statistics.median(speeds):,.0f} |")
    typer.echo(json.dumps(_found(plan, alone, beside, scored_again)))


def _found(
    plan: Plan, alone: list[Latency], beside: list[Latency], scored_again: list[float]
) -> dict[str, Any]:
    pairs = list(zip(alone, beside, strict=True))
    return {
        "conditions": conditions(plan.model),
        "kind": plan.kind,
        "share": plan.share,
        "alone": [asdict(each) for each in alone],
        "beside": [asdict(each) for each in beside],
        "scored_again_per_second": [round(each) for each in scored_again],
        "p50_ratios": [round(busy.p50_ms / idle.p50_ms, 2) for idle, busy in pairs],
        "p99_ratios": [round(busy.p99_ms / idle.p99_ms, 2) for idle, busy in pairs],
    }


async def _run(plan: Plan) -> tuple[list[Latency], list[Latency], list[float]]:
    traffic, num_live = Traffic(plan.kind), int(plan.rate * plan.seconds)
    alone, beside, scored_again = [], [], []
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "kafka") as kafka:
        await create_topics(kafka.bootstrap, TOPICS)
        log = Path(folder) / "worker.log"
        with Worker(kafka.bootstrap, TOPICS, plan.repository, log=log, model=plan.model) as worker:
            await worker.ready()
            async with StreamLoad(kafka.bootstrap, TOPICS, [worker]) as load:
                await load.pass_through(traffic.take(plan.backlog))
                for _ in range(plan.rounds):
                    alone.append(await load.latency(traffic.take(num_live), plan.rate))
                    async with _backfilling(kafka, plan):
                        num_before, began = await _num_scored_again(kafka), time.monotonic()
                        beside.append(await load.latency(traffic.take(num_live), plan.rate))
                        num_scored = await _num_scored_again(kafka) - num_before
                        scored_again.append(num_scored / (time.monotonic() - began))
    return alone, beside, scored_again


@asynccontextmanager
async def _backfilling(kafka: EmbeddedBroker, plan: Plan) -> AsyncIterator[None]:
    """A backfill from the beginning that has begun to answer, and has not come to the end meanwhile."""
    options = {
        "offset": "0",
        "model": plan.model,
        "model-repository": plan.repository,
        "share": plan.share,
        "broker": kafka.url,
        "output": OUTPUT,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    num_before = await _num_scored_again(kafka)
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stream_app", "--log-level=error", "backfill", *words, "--restart"
    )
    try:
        while await _num_scored_again(kafka) == num_before:
            assert run.returncode is None, "the backfill has ended"
            await asyncio.sleep(POLL_SECONDS)
        yield
        assert run.returncode is None, "the backfill came to the end; give it a larger backlog"
    finally:
        if run.returncode is None:
            run.send_signal(signal.SIGTERM)
        await run.wait()


async def _num_scored_again(kafka: EmbeddedBroker) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
        if OUTPUT not in await consumer.topics():
            return 0
        ends = await consumer.end_offsets(
            [TopicPartition(OUTPUT, number) for number in range(NUM_PARTITIONS)]
        )
        return sum(ends.values())


if __name__ == "__main__":
    typer.run(main)
