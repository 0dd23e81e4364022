"""A small HTTP server beside the worker: is it alive, is it ready, what does it count.

| path | answer |
| --- | --- |
| `/metrics` | all metrics, as plain text or OpenMetrics |
| `/healthz` | 200 while the process can go on, 503 when only a restart helps |
| `/readyz` | 200 when records flow or could flow, else 503; both with a JSON detail |

It runs on the worker's own event loop: a loop that hangs does not answer, which is what a probe must see.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from stream_app.errors import SettingsError

__all__ = ["HealthReport", "HealthServer", "HealthSettings"]

logger = logging.getLogger(__name__)


class HealthSettings(BaseModel):
    """Where health and metrics are served."""

    model_config = ConfigDict(frozen=True)

    metrics_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that serves /metrics, /healthz and /readyz; 0.0.0.0 for all interfaces.",
    )
    metrics_port: int = Field(9102, ge=0, le=65_535, description="Its port; 0 takes any free one.")


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What a probe is told.

    Attributes:
        healthy: the answer: 200 or 503.
        detail: why, for people; values fit for JSON, no secrets.
    """

    healthy: bool
    detail: Mapping[str, Any] = field(default_factory=dict)


class HealthServer:
    """Serves the three paths between `start` and `stop`.

    Whatever a request or one of the callables does, the worker goes on: a callable that raises is answered as
    unhealthy and logged.

    Args:
        settings: where to listen.
        liveness: whether the process can go on; answers at once, without I/O.
        readiness: whether records flow or could flow; answers at once, without I/O.
        exposition: renders the metrics for an `Accept` header: body and content type.
    """

    def __init__(
        self,
        settings: HealthSettings,
        *,
        liveness: Callable[[], HealthReport],
        readiness: Callable[[], HealthReport],
        exposition: Callable[[str], tuple[bytes, str]],
    ) -> None:
        self._settings = settings
        self._exposition = exposition
        self._port: int | None = None
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", _answer(liveness)),
                web.get("/readyz", _answer(readiness)),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    @property
    def port(self) -> int:
        """The port that is listened on.

        Raises:
            RuntimeError: before `start`.
        """
        if self._port is None:
            raise RuntimeError("HealthServer.port is known after start()")
        return self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address or port cannot be had.
        """
        host, port = self._settings.metrics_host, self._settings.metrics_port
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SettingsError(
                f"cannot serve metrics on {host}:{port} ({error.strerror or error}); set "
                "SHELVER_METRICS_PORT to a free port (0 takes any) or SHELVER_METRICS_HOST to an address here"
            ) from error
        self._port = int(self._runner.addresses[0][1])
        logger.info("metrics and health on http://%s:%s", host, self._port)

    async def stop(self) -> None:
        """Stop listening; requests under way get a second."""
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


def _answer(probe: Callable[[], HealthReport]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(_request: web.Request) -> web.Response:
        try:
            report = probe()
            body = json.dumps({"healthy": report.healthy, **report.detail}, default=str)
        except Exception as error:
            logger.exception("a health probe failed")
            report = HealthReport(healthy=False)
            body = json.dumps({"healthy": False, "error": type(error).__name__})
        return web.Response(
            text=body + "\n",
            status=200 if report.healthy else 503,
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    return handler
