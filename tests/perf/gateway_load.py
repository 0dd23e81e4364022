"""Text products through the gateway at a steady rate: how long answers take, and whether any is an error.

    uv run --extra gateway python -m tests.perf.gateway_load REPOSITORY NAME CATALOGUE

Starts Kafka, a worker and a gateway, asks at a rate whatever becomes of the answers (an open loop), and
prints a table and one JSON object. Times are the client's, from the request to its whole answer.
"""

import asyncio
import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import numpy as np
import typer

from schemas.catalogue import read_catalogue
from stream_app.broker import EmbeddedBroker
from tests.integration.gateways import Gateway
from tests.integration.workers import Topics, Worker
from tests.perf.loads import steadily
from tests.perf.results import conditions, markdown, told

TOPICS = Topics(
    "product-listed", "category-assigned", "dead", "explanation-requested", "category-explained", "load"
)
WARM_UP_SECONDS = 3.0
GENEROUS = 1_000_000
"""Of the limits that a load is not about."""


@dataclass(frozen=True)
class Found:
    """What came of the requests of one run."""

    asked_per_second: float
    answered_per_second: float
    requests: int
    errors: dict[str, int]
    p50_ms: float
    p99_ms: float
    max_ms: float


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    catalogue: Annotated[Path, typer.Argument(help="Whatever shelver publish reads.")],
    rate: Annotated[float, typer.Option(help="Requests a second.")] = 200,
    seconds: Annotated[float, typer.Option(help="How long.")] = 60,
) -> None:
    """Measure; exit code 1 when a request was not answered with its category."""
    products = [
        {"title": row.title, "description": row.description}
        for row in itertools.islice((row for row in read_catalogue(catalogue) if row.title), 2_000)
    ]
    found = asyncio.run(_run(repository, model, products, rate, seconds))
    under = conditions(model)
    row = [
        f"{found.asked_per_second:.0f}",
        f"{found.answered_per_second:.1f}",
        str(found.requests),
        str(sum(found.errors.values())),
        f"{found.p50_ms:.1f}",
        f"{found.p99_ms:.1f}",
        f"{found.max_ms:.1f}",
    ]
    head = ["asked/s", "answered/s", "requests", "errors", "p50 ms", "p99 ms", "max ms"]
    typer.echo(told(under))
    typer.echo(markdown(head, [row]))
    typer.echo(json.dumps({"conditions": under, **asdict(found)}))
    raise typer.Exit(1 if found.errors else 0)


async def _run(
    repository: Path, model: str, products: Sequence[dict[str, Any]], rate: float, seconds: float
) -> Found:
    settings = {
        "model": model,
        "gateway_requests_per_second": GENEROUS,
        "gateway_burst": GENEROUS,
    }
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder) / "kafka") as kafka:
        worker = Worker(kafka.bootstrap, TOPICS, repository, log=Path(folder) / "worker", model=model)
        gateway = Gateway(kafka.bootstrap, TOPICS, repository, log=Path(folder) / "gateway", **settings)
        with worker, gateway:
            await worker.ready()
            await gateway.ready()
            numbered = (
                {"product_id": str(number), **product}
                for number, product in enumerate(itertools.cycle(products))
            )
            # Requests may not queue for a connection: that would hide the latency of the gateway.
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(gateway.url, connector=connector) as session:
                await _load(session, list(itertools.islice(numbered, int(rate * WARM_UP_SECONDS))), rate)
                return await _load(session, list(itertools.islice(numbered, int(rate * seconds))), rate)


async def _load(session: aiohttp.ClientSession, products: Sequence[dict[str, Any]], rate: float) -> Found:
    seconds, errors = list[float](), Counter[str]()

    async def ask(product: dict[str, Any]) -> None:
        began = time.perf_counter()
        try:
            async with session.post("/v1/products", json=product) as response:
                answer = await response.json(content_type=None)
                if response.status != 200 or answer["assigned"]["product_id"] != product["product_id"]:
                    errors[str(response.status)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            errors[type(error).__name__] += 1
        seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as requests:

        async def send(due: Sequence[dict[str, Any]]) -> None:
            for product in due:
                requests.create_task(ask(product))

        await steadily(products, rate, send)
    took = time.perf_counter() - began
    p50, p99, most = np.percentile(seconds, [50, 99, 100]) * 1_000
    return Found(
        rate, round(len(seconds) / took, 1), len(seconds), dict(errors), *map(_rounded, (p50, p99, most))
    )


def _rounded(milliseconds: float) -> float:
    return round(float(milliseconds), 1)


if __name__ == "__main__":
    typer.run(main)
