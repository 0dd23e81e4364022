"""The gateway as a process: a socket, signals, an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn

from stream_app.edge.app import create_app
from stream_app.edge.edge import Edge
from stream_app.errors import FatalError, SettingsError, ShelverError
from stream_app.settings import EdgeSettings
from stream_app.stop_signals import stop_signals

__all__ = ["serve"]

logger = logging.getLogger(__name__)

BACKLOG = 2_048


class _Server(uvicorn.Server):
    """A server that leaves signals to us: they first end event streams, which it would wait for."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve(settings: EdgeSettings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered before it ends.

    Args:
        settings: of the gateway.

    Raises:
        SettingsError: the address or port cannot be had, or keys or credentials cannot be used.
        ShelverError: the gateway cannot go on: no brokers at start, or they turn it away.
    """
    stopping = asyncio.Event()
    fatal: list[BaseException] = []

    def give_up(error: BaseException) -> None:
        fatal.append(error)
        stopping.set()

    edge = Edge(settings, on_fatal=give_up)
    listener = _listen(settings)
    with contextlib.closing(listener), stop_signals(stopping):
        server = _Server(
            uvicorn.Config(
                create_app(edge),
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                ws="none",
                timeout_graceful_shutdown=int(settings.gateway_stop_seconds) or 1,
            )
        )
        host, port = listener.getsockname()[:2]
        logger.info("the gateway listens on http://%s:%s", f"[{host}]" if ":" in host else host, port)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        edge.stop()
        server.should_exit = True
        await serving
    if fatal:
        raise (
            fatal[0]
            if isinstance(fatal[0], ShelverError)
            else FatalError(f"the gateway cannot go on: {fatal[0]!r}")
        ) from fatal[0]


def _listen(settings: EdgeSettings) -> socket.socket:
    host, port = settings.gateway_host, settings.gateway_port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"the gateway cannot listen on {host}:{port} ({error.strerror or error}); set"
            " SHELVER_GATEWAY_PORT to a free port (0 takes any) or SHELVER_GATEWAY_HOST to an address here"
        ) from error
