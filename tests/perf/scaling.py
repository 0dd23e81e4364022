"""What a second worker adds: the same backlog worked off by one worker of a group and by more.

    uv run python -m tests.perf.scaling REPOSITORY NAME --workers 1 --workers 2

All workers have joined and are warm before the backlog is there. Each computes in one thread and decodes
pictures in one, so that it takes about one core. Kafka and the load share the machine: N workers on N cores
are not N times as fast. `identity` is texts without a model. Prints a table and one JSON line.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from tests.integration.workers import Worker
from tests.perf.loads import Capacity
from tests.perf.peers.table import PEERS
from tests.perf.stream_load import StreamLoad, create_topics
from tests.perf.throughput import Plan, num_events_of, told_as_they_come, topics_of
from tests.perf.traffic import KINDS

IDENTITY = "identity"
CASES = [IDENTITY, "text", "picture-15kb"]
COUNTS = [1, 2]


@dataclass(frozen=True)
class Scaled:
    """How fast a number of workers is together."""

    kind: str
    workers: int
    capacity: Capacity
    """CPU is of all workers together, an event."""


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    *,
    kind: Annotated[list[str], typer.Option(help=f"Of listings: {', '.join((IDENTITY, *KINDS))}.")] = CASES,
    workers: Annotated[list[int], typer.Option(min=1, help="In the group.")] = COUNTS,
    events: Annotated[int | None, typer.Option(help="In the backlog; by default by kind.")] = None,
) -> None:
    """Measure, and print a table and one JSON line."""
    if unknown := set(kind) - {IDENTITY, *KINDS}:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")
    results = asyncio.run(run_and_tell(Plan(repository, model, num_events=events), kind, workers))
    typer.echo(json.dumps([asdict(each) for each in results]))


async def run(
    plan: Plan, bootstrap: str, folder: Path, kinds: Sequence[str], counts: Sequence[int]
) -> AsyncIterator[Scaled]:
    """Measure each number of workers on each kind, one after the other, through one Kafka."""
    for kind in kinds:
        for num_workers in counts:
            yield await _measure(plan, bootstrap, folder, kind, num_workers)


def row(result: Scaled) -> str:
    """A line of the table."""
    capacity = result.capacity
    return f"{result.kind:14}{result.workers:9}{capacity.per_second:10.0f}{capacity.cpu_us:9.0f}"


async def run_and_tell(plan: Plan, kinds: Sequence[str], counts: Sequence[int]) -> list[Scaled]:
    """Measure, and print each result as it comes."""
    return await told_as_they_come(
        lambda bootstrap, folder: run(plan, bootstrap, folder, kinds, counts), HEAD, row
    )


async def _measure(plan: Plan, bootstrap: str, folder: Path, kind: str, num_workers: int) -> Scaled:
    suffix = f"{kind}-{num_workers}"
    topics = topics_of(suffix)
    identity = kind == IDENTITY
    workers = [
        Worker(
            bootstrap,
            topics,
            plan.repository,
            log=folder / f"{suffix}-{number}.log",
            command=PEERS["shelver"].command(identity=identity),
            model=plan.model,
            test_identity=int(identity),
            prepare_threads=1,
        )
        for number in range(num_workers)
    ]
    await create_topics(bootstrap, topics)
    listings = "text" if identity else kind
    async with StreamLoad(bootstrap, topics, workers) as load:
        return Scaled(kind, num_workers, await load.work_off(listings, num_events_of(plan, listings)))


HEAD = f"{'kind':14}{'workers':>9}{'events/s':>10}{'CPU us':>9}"

if __name__ == "__main__":
    typer.run(main)
