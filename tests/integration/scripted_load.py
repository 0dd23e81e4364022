"""Everything that a worker and a gateway may meet, a little of each: what dashboards are drawn under."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.catalogue import CatalogueRow, read_catalogue
from tests.integration.explanations import product, request
from tests.integration.gateways import Gateway, HttpClient
from tests.integration.workers import Sent, Topics, listing, publish

TICK_SECONDS = 0.25


@dataclass(frozen=True)
class Load:
    """What is sent where.

    Attributes:
        bootstrap: of the brokers.
        topics: the worker's.
        rows: products, with and without pictures.
        shop: address of a server of pictures that the worker may fetch from.
    """

    bootstrap: str
    topics: Topics
    rows: Sequence[CatalogueRow]
    shop: str

    @classmethod
    def of(cls, bootstrap: str, topics: Topics, catalogue: Path, shop: str) -> "Load":
        return cls(bootstrap, topics, list(read_catalogue(catalogue))[:400], shop)

    async def texts(self, number: int) -> None:
        """Publish so many listings without a picture at once."""
        await publish(self.bootstrap, self.topics.listed, itertools.islice(self._texts(), number))

    async def run(self, enough: asyncio.Event, texts_per_second: float) -> None:
        """Send a little of everything until it is enough; cancelled, it would leave producers open."""
        texts = self._texts()
        for tick in itertools.count():
            if enough.is_set():
                break
            num_texts = round(texts_per_second * TICK_SECONDS)
            records = [*itertools.islice(texts, num_texts), *self._odd(tick)]
            await publish(self.bootstrap, self.topics.listed, records)
            await publish(self.bootstrap, self.topics.requested, self._requests(tick))
            await publish(self.bootstrap, self.topics.corrected, self._corrections(tick))
            await asyncio.sleep(TICK_SECONDS)

    def _texts(self) -> Iterator[Sent]:
        for number, row in enumerate(itertools.cycle(self.rows)):
            yield listing(number, title=f"{row.title} {number % 1_000}", description=row.description)

    def _odd(self, tick: int) -> Iterator[Sent]:
        """Pictures inside, behind an address and not to be had; a delisting, damage, a question."""
        pictured = [row for row in self.rows if row.image_path is not None]
        row = pictured[tick % len(pictured)]
        assert row.image_path is not None
        inside = {"data": base64.b64encode(row.image_path.read_bytes()).decode()}
        yield listing(tick, event_id=f"inside-{tick}", title=row.title, image=inside)
        if tick % 2:
            fetched = {"url": f"{self.shop}/{tick % 6}.jpg"}
            yield listing(tick, event_id=f"fetched-{tick}", title=row.title, image=fetched)
        if tick % 4 == 0:
            blocked = {"url": "https://10.0.0.1/1.jpg"}
            yield listing(tick, event_id=f"blocked-{tick}", title=row.title, image=blocked)
            yield listing(tick, event_id=f"why-{tick}", title=row.title, explain=True)
        if tick % 8 == 0:
            yield str(tick).encode(), b"{not json", []
            yield str(tick).encode(), json.dumps({"product_id": "1"}).encode(), []
            yield str(tick).encode(), None, []

    def _requests(self, tick: int) -> Iterator[Sent]:
        row = self.rows[tick % len(self.rows)]
        for number in range(2 if tick % 3 == 0 else 0):
            yield request(10 * tick + number, product=product(row.title))
        if tick % 12 == 0:
            yield request(10 * tick + 9, event_id="never-listed")

    def _corrections(self, tick: int) -> Iterator[Sent]:
        """What people say of earlier listings: the label of the row, and now and then another."""
        number = tick % len(self.rows)
        code = self.rows[number - number % 5].category if tick % 5 == 4 else self.rows[number].category
        body = {"product_id": str(number), "event_id": f"e-{number}", "category": {"code": code}}
        yield str(number).encode(), json.dumps(body).encode(), []


@asynccontextmanager
async def running(load: Load, texts_per_second: float = 40.0) -> AsyncIterator[None]:
    """Send in the background as long as the block lasts."""
    enough = asyncio.Event()
    task = asyncio.create_task(load.run(enough, texts_per_second))
    try:
        yield
    finally:
        enough.set()
        await task


@asynccontextmanager
async def asking(gateway: Gateway, rows: Sequence[CatalogueRow], num_clients: int = 3) -> AsyncIterator[None]:
    """Clients of a gateway that ask one thing after another as long as the block lasts."""
    enough = asyncio.Event()
    numbers = itertools.count()

    async def ask() -> None:
        async with HttpClient(gateway) as client:
            while not enough.is_set():
                number = next(numbers)
                method, path, body = _asked(number, rows[number % len(rows)].title)
                await client.ask(method, path, **({} if body is None else {"json": body}))
                await asyncio.sleep(TICK_SECONDS / 4)

    async with asyncio.TaskGroup() as clients:
        for _ in range(num_clients):
            clients.create_task(ask())
        try:
            yield
        finally:
            enough.set()


def _asked(number: int, title: str) -> tuple[str, str, object]:
    """Mostly products; questions, corrections, what does not wait, and what is turned away."""
    product_id = str(number)
    listed = {"product_id": product_id, "title": f"{title} {number}"}
    odd: dict[int, tuple[str, str, object]] = {
        0: ("POST", "/v1/products?wait=0", listed),
        1: ("POST", "/v1/products", listed | {"explain": True}),
        2: ("POST", "/v1/explanations", {"product": listed | {"event_id": f"asked-{number}"}}),
        3: ("POST", "/v1/corrections", {"product_id": product_id, "category": {"code": 10}}),
        4: ("POST", "/v1/products", {"products": [listed, {}]}),
        5: ("POST", "/v1/products", {"title": title}),
        6: ("GET", f"/v1/products/never-{number}", None),
        7: ("GET", "/v1/live", None),
        8: ("POST", "/api/v1/predict/text", {"text": title or "Lampe"}),
    }
    return odd.get(number % 30, ("POST", "/v1/products", listed))
