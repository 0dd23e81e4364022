"""From start to exit code: an awaited start, signals, a watch on crashes, a drain with a hard deadline."""

import asyncio
import contextlib
import logging
import os
import threading

from stream_app.acls import Operation, told
from stream_app.errors import FatalError
from stream_app.fetching import WholeFetchApp
from stream_app.stop_signals import stop_signals

logger = logging.getLogger(__name__)

CRASH_POLL_SECONDS = 0.2
EXIT_CRASHED = 1


async def run_until_stopped(app: WholeFetchApp, *, stop_seconds: float) -> None:
    """Run the app until SIGTERM or SIGINT, then drain and stop it; the process is expected to end after that.

    Args:
        app: a Faust app that is not started yet.
        stop_seconds: after this long in the stop the process ends with ``os._exit``: a stop can hang for
            as long as a broker does.

    Raises:
        FatalError: a part of the service died; nothing unfinished was acknowledged.
        Exception: whatever kept the app from starting.
    """
    stopping = asyncio.Event()
    with stop_signals(stopping):
        starting = asyncio.create_task(app.start())
        await _first_of(starting, stopping)
        try:
            if starting.done():
                await starting
                await _watch(app, stopping)
        finally:
            _end_within(stop_seconds)
            await _stop(app, starting)


async def _first_of(task: asyncio.Task[None], event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _watch(app: WholeFetchApp, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        for part in (app, app.consumer):
            if part.crashed:
                reason = told(part.crash_reason, Operation.READ)
                raise FatalError(f"the worker cannot go on: {reason}") from part.crash_reason
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), CRASH_POLL_SECONDS)


async def _stop(app: WholeFetchApp, starting: asyncio.Task[None]) -> None:
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    logger.info("stopping: finishing what is begun")
    await app.stop()
    logger.info("stopped")


def _end_within(seconds: float) -> None:
    """Arm a timer that ends the process; it is never disarmed, since threads can hang after the stop too."""

    def give_up() -> None:
        logger.error("the stop took longer than %g s; what is unfinished is read again", seconds)
        os._exit(EXIT_CRASHED)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
