"""HTTP applications as processes: a socket that is bound first, signals, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from stream_app.errors import SettingsError
from stream_app.stop_signals import stop_signals

__all__ = ["listen", "serve_app", "url_of"]

BACKLOG = 2_048


class _Server(uvicorn.Server):
    """A server that leaves signals to us: they first end event streams, which it would wait for."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def listen(host: str, port: int, name: str) -> socket.socket:
    """A socket that is listened on, the caller's to close.

    Args:
        host: name or address.
        port: 0 takes any free one.
        name: of what is served, in messages and settings.

    Raises:
        SettingsError: the address or port cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        prefix = f"SHELVER_{name.upper()}"
        raise SettingsError(
            f"the {name} cannot listen on {host}:{port} ({error.strerror or error}); set {prefix}_PORT to a"
            f" free port (0 takes any) or {prefix}_HOST to an address here"
        ) from error


def url_of(listener: socket.socket) -> str:
    """Where a socket is listened on."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_app(
    app: Any,
    listener: socket.socket,
    *,
    stopping: asyncio.Event,
    stop_seconds: float,
    on_stopping: Callable[[], None] = lambda: None,
    has_websockets: bool = False,
) -> None:
    """Serve until SIGTERM, SIGINT or `stopping`; what is being answered is answered before it ends.

    Args:
        app: of ASGI.
        listener: where.
        stopping: ends it.
        stop_seconds: longest wait for what is being answered.
        on_stopping: called before the wait, to end what would go on for ever.
        has_websockets: whether it speaks them.
    """
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="websockets-sansio" if has_websockets else "none",
            timeout_graceful_shutdown=int(stop_seconds) or 1,
        )
    )
    with stop_signals(stopping):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        on_stopping()
        server.should_exit = True
        await serving
