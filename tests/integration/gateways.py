"""Gateways as processes of their own, and requests to them."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp

from stream_app.broker_config import free_port
from tests.integration.workers import Topics, Worker

SHELVER = str(Path(sys.executable).with_name("shelver"))
PATIENCE = aiohttp.ClientTimeout(total=90)


class Answer(NamedTuple):
    """What a gateway answered."""

    status: int
    headers: Any
    body: Any


class Gateway(Worker):
    """``shelver gateway`` as a process; stopped when the ``with`` block ends."""

    def __init__(
        self, bootstrap: str, topics: Topics, repository: Path, *, log: Path, **settings: object
    ) -> None:
        super().__init__(bootstrap, topics, repository, log=log, command=(SHELVER, "gateway"), **settings)
        self.port = free_port()
        self.environment["SHELVER_GATEWAY_PORT"] = str(self.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class HttpClient:
    """Asks a gateway."""

    def __init__(self, gateway: Gateway, key: str | None = None) -> None:
        self._url = gateway.url
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session = aiohttp.ClientSession(headers=headers, timeout=PATIENCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """One request; a body of JSON is read as such."""
        async with self._session.request(method, self._url + path, **options) as response:
            content = await response.read()
            is_json = "json" in response.content_type
            return Answer(response.status, response.headers, json.loads(content) if is_json else content)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> Answer:
        return await self.ask("POST", path, **({"json": body} if body is not None else {}), **options)

    async def events(self, path: str, most: int = 1_000) -> list[tuple[str, Any]]:
        """The events of a stream until it ends, or so many have come."""
        found: list[tuple[str, Any]] = []
        async with self._session.get(self._url + path) as response:
            assert response.status == 200, await response.text()
            name = ""
            async for line in response.content:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    found.append((name, json.loads(value)))
                    if len(found) >= most:
                        break
        return found


async def until(client: HttpClient, path: str, status: int, *, seconds: float = 60) -> Answer:
    """Ask again until the answer has this status."""
    async with asyncio.timeout(seconds):
        while (answer := await client.get(path)).status != status:
            await asyncio.sleep(0.1)
    return answer
