"""Load on a peer that answers requests: N connections that never rest, then requests at a steady rate."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial

import aiohttp

from tests.integration.workers import Worker
from tests.perf.loads import Capacity, Latency, Measured, at_rates, cpu_seconds, rate, steadily
from tests.perf.traffic import Sent, Traffic


class HttpLoad:
    """Sends listings to a server; times are the client's, from the request to its answer."""

    def __init__(self, worker: Worker, num_connections: int) -> None:
        self._worker = worker
        self._num_connections = num_connections
        self._url = f"http://127.0.0.1:{worker.port}/"

    async def measure(self, kind: str, peer: str, num_events: int) -> Measured:
        """Capacity from connections that always wait for an answer, latencies at shares of it."""
        traffic = Traffic(kind)
        with self._worker:
            await self._worker.ready()
            async with self._session() as session:
                capacity = await self._capacity(session, traffic.take(num_events))
                measure = partial(self._latency, session)
                latencies, idle = await at_rates(traffic, capacity, num_events, measure)
        return Measured(kind, peer, num_events, capacity, latencies, idle)

    def _session(self) -> aiohttp.ClientSession:
        # Answers are asked for as they are: by itself LitServe compresses those above 1,000 bytes.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        # Requests may not queue for a connection: that would hide the latency of the server.
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers)

    async def _capacity(self, session: aiohttp.ClientSession, listings: list[Sent]) -> Capacity:
        waiting, answered_at_ms = iter(listings), list[float]()
        cpu = -cpu_seconds(self._worker)
        await asyncio.gather(
            *(self._connection(session, waiting, answered_at_ms) for _ in range(self._num_connections))
        )
        cpu += cpu_seconds(self._worker)
        return Capacity(round(rate(answered_at_ms), 1), round(1e6 * cpu / len(listings), 1))

    async def _connection(
        self, session: aiohttp.ClientSession, waiting: Iterator[Sent], answered_at_ms: list[float]
    ) -> None:
        for _, value in waiting:
            await self._ask(session, value)
            answered_at_ms.append(1e3 * time.perf_counter())

    async def _latency(
        self, session: aiohttp.ClientSession, listings: list[Sent], per_second: float
    ) -> Latency:
        ages_ms, out_at_ms = list[float](), list[float]()

        async def ask(value: bytes) -> None:
            began = time.perf_counter()
            await self._ask(session, value)
            ended = time.perf_counter()
            ages_ms.append(1e3 * (ended - began))
            out_at_ms.append(1e3 * ended)

        async with asyncio.TaskGroup() as requests:

            async def send(due: Sequence[Sent]) -> None:
                for _, value in due:
                    requests.create_task(ask(value))

            await steadily(listings, per_second, send)
        return Latency.of(per_second, ages_ms, out_at_ms)

    async def _ask(self, session: aiohttp.ClientSession, value: bytes) -> None:
        async with session.post(self._url, data=value) as response:
            response.raise_for_status()
            await response.read()
