"""The gateway as a process: a socket, signals, an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from stream_app.edge.app import create_app
from stream_app.edge.edge import Edge
from stream_app.errors import FatalError, ShelverError
from stream_app.http_serving import listen, serve_app, url_of
from stream_app.settings import EdgeSettings

__all__ = ["serve"]

logger = logging.getLogger(__name__)


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
    with contextlib.closing(listen(settings.gateway_host, settings.gateway_port, "gateway")) as listener:
        logger.info("the gateway listens on %s", url_of(listener))
        await serve_app(
            create_app(edge),
            listener,
            stopping=stopping,
            stop_seconds=settings.gateway_stop_seconds,
            on_stopping=edge.stop,
        )
    if fatal:
        raise (
            fatal[0]
            if isinstance(fatal[0], ShelverError)
            else FatalError(f"the gateway cannot go on: {fatal[0]!r}")
        ) from fatal[0]
