"""A peer: an HTTP server that batches requests while they wait, as LitServe, Ray Serve and Triton do.

Started by `tests.perf.throughput`: ``python -m tests.perf.peers.http_batching`` with the worker's variables;
``POST /`` takes a listing and answers its category, ``GET /readyz`` tells when the model is warm.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field

from aiohttp import web

from stream_app.settings import Settings, load_settings
from tests.perf.peers.work import Asked, Work


@dataclass(frozen=True, slots=True)
class _Request(Asked):
    answer: asyncio.Future[bytes] = field(kw_only=True)


class DynamicBatching:
    """Up to ``max_batch`` requests, or what came within ``max_delay_ms`` of the first, go together."""

    def __init__(self, settings: Settings, work: Work) -> None:
        self._settings = settings
        self._work = work
        self._waiting: asyncio.Queue[_Request] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one listing."""
        each = _Request(await request.read(), answer=asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(each)
        return web.Response(body=await each.answer, content_type="application/json")

    async def run(self) -> None:
        """Work on batches, one after the other, until cancelled."""
        while True:
            batch = await self._next_batch()
            outputs = await asyncio.to_thread(self._work.outgoing, batch)
            for request, output in zip(batch, outputs, strict=True):
                if not request.answer.done():
                    request.answer.set_result(output.value)

    async def _next_batch(self) -> list[_Request]:
        batch = [await self._waiting.get()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.max_delay_ms / 1e3):
                while len(batch) < self._settings.max_batch:
                    batch.append(await self._waiting.get())
        return batch


async def serve(settings: Settings) -> None:
    """Answer requests until the process is ended."""
    batching = DynamicBatching(settings, await asyncio.to_thread(Work, settings))
    app = web.Application(client_max_size=settings.max_message_bytes)
    app.router.add_post("/", batching.answer)
    app.router.add_get("/readyz", _ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.metrics_host, settings.metrics_port).start()
    await batching.run()


async def _ready(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    asyncio.run(serve(load_settings()))
