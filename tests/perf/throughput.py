"""Events a second, CPU an event and latency of Shelver and of what one would write instead, in one run.

    uv run python -m tests.perf.throughput REPOSITORY NAME --kind text --kind picture-15kb
    uv run python -m tests.perf.throughput REPOSITORY NAME --identity --only shelver --only getmany

Each peer is a process of its own with the same model and the same output: `faust` takes and sends as Faust's
guide does, `getmany` is a bare aiokafka loop, `faststream` FastStream's batch subscriber, `http` an aiohttp
server with dynamic batching, `litserve` LitServe's. What the project does not depend on is added by
``uv run --with 'faststream[kafka]' --with litserve``.

On the stream a backlog waits before the worker starts; its rate is from the first to the last broker
timestamp of the outputs. Latency is from broker timestamp to broker timestamp (of requests: from request to
answer): idle, of listings that come alone, five a second; then at 50 % and 90 % of the peer's own capacity.
CPU is of the peer's processes. Everything shares the machine, Kafka and the load included: report ratios of
one run.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from stream_app.broker import EmbeddedBroker
from tests.integration.workers import Topics, Worker
from tests.perf.http_load import HttpLoad
from tests.perf.loads import SHARES, Measured
from tests.perf.peers.table import HOW_TO_INSTALL, PEERS, peers_there
from tests.perf.results import conditions
from tests.perf.stream_load import StreamLoad, create_topics
from tests.perf.traffic import KINDS

Result = TypeVar("Result")

NUM_EVENTS = {"text": 30_000, "picture-15kb": 2_000, "picture-150kb": 800, "mixed": 3_000}


@dataclass(frozen=True)
class Plan:
    """What all measurements of a run have in common."""

    repository: Path
    model: str
    identity: bool = False
    num_events: int | None = None
    """In a backlog; by default by kind."""
    num_connections: int = 256


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    *,
    kind: Annotated[list[str], typer.Option(help=f"Of listings: {', '.join(KINDS)}.")] = ["text"],  # noqa: B006
    only: Annotated[
        list[str], typer.Option(help=f"Of the peers: {', '.join(PEERS)}. By default those installed.")
    ] = peers_there(),  # noqa: B008 - it is asked once
    events: Annotated[int | None, typer.Option(help="In the backlog; by default by kind.")] = None,
    connections: Annotated[int, typer.Option(help="Of the load generator of the HTTP server.")] = 256,
    identity: Annotated[bool, typer.Option("--identity", help="No model: fixed scores.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON line only.")] = False,
    output: Annotated[Path | None, typer.Option(help="File for the JSON object.")] = None,
) -> None:
    """Measure, and print a table and one JSON line."""
    if unknown := [*(set(kind) - KINDS.keys()), *(set(only) - PEERS.keys())]:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")
    if absent := [peer for peer in only if not PEERS[peer].is_there]:
        raise typer.BadParameter(f"not installed: {', '.join(absent)}; run it by {HOW_TO_INSTALL}")
    plan = Plan(repository, model, identity, events, connections)
    results = asyncio.run(run_and_tell(plan, kind, only, quiet=as_json))
    line = json.dumps(
        {
            "conditions": conditions(model, identity=identity),
            "results": [each.as_dict() for each in results],
        }
    )
    typer.echo(line)
    if output is not None:
        output.write_text(f"{line}\n", "utf-8")


async def run(
    plan: Plan, bootstrap: str, folder: Path, kinds: Iterable[str], peers: Sequence[str]
) -> AsyncIterator[Measured]:
    """Measure each peer on each kind, one after the other, through one Kafka; logs go to the folder."""
    for kind in kinds:
        for peer in peers:
            yield await _measure(plan, bootstrap, folder, kind, peer)


def topics_of(suffix: str) -> Topics:
    """Topics and group of one measurement."""
    names = ("product-listed", "category-assigned", "dead", "requested", "explained", "group")
    return Topics(*(f"{name}-{suffix}" for name in names))


def num_events_of(plan: Plan, kind: str) -> int:
    """How many listings wait, or are asked for, when capacity is measured."""
    return plan.num_events or NUM_EVENTS[kind]


async def run_and_tell(
    plan: Plan, kinds: Sequence[str], peers: Sequence[str], *, quiet: bool = False
) -> list[Measured]:
    """Measure, and print each result as it comes unless it shall be quiet."""
    return await told_as_they_come(
        lambda bootstrap, folder: run(plan, bootstrap, folder, kinds, peers), _HEAD, _row, quiet=quiet
    )


async def told_as_they_come(
    measure: Callable[[str, Path], AsyncIterator[Result]],
    head: str,
    row: Callable[[Result], str],
    *,
    quiet: bool = False,
) -> list[Result]:
    """Measure through a Kafka and with a folder of its own; a line for each result is printed at once."""
    results = []
    with tempfile.TemporaryDirectory() as name, EmbeddedBroker(Path(name) / "kafka") as kafka:
        if not quiet:
            typer.echo(head)
        async for each in measure(kafka.bootstrap, Path(name)):
            results.append(each)
            if not quiet:
                typer.echo(row(each))
    return results


async def _measure(plan: Plan, bootstrap: str, folder: Path, kind: str, peer: str) -> Measured:
    suffix = f"{kind}-{peer}"
    topics = topics_of(suffix)
    worker = Worker(
        bootstrap,
        topics,
        plan.repository,
        log=folder / f"{suffix}.log",
        command=PEERS[peer].command(identity=plan.identity),
        model=plan.model,
        test_identity=int(plan.identity),
    )
    num_events = num_events_of(plan, kind)
    if PEERS[peer].answers_requests:
        return await HttpLoad(worker, plan.num_connections).measure(kind, peer, num_events)
    await create_topics(bootstrap, topics)
    async with StreamLoad(bootstrap, topics, [worker]) as load:
        return await load.measure(kind, peer, num_events)


_HEAD = f"{'kind':14}{'peer':12}{'events/s':>10}{'CPU us':>9}{'idle: p50 ms':>14}{'p99 ms':>8}" + "".join(
    f"{f'{share:.0%}: out/s':>14}{'p50 ms':>9}{'p99 ms':>9}" for share in SHARES
)


def _row(result: Measured) -> str:
    capacity = result.capacity
    start = f"{result.kind:14}{result.peer:12}{capacity.per_second:10.0f}{capacity.cpu_us:9.0f}"
    start += f"{result.idle.p50_ms:14.1f}{result.idle.p99_ms:8.1f}"
    return start + "".join(
        f"{each.per_second:14.0f}{each.p50_ms:9.1f}{each.p99_ms:9.1f}" for each in result.latencies.values()
    )


if __name__ == "__main__":
    typer.run(main)
