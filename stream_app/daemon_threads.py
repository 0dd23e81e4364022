"""Blocking work on threads that the end of the process does not wait for."""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import TypeVar

__all__ = ["in_daemon_thread"]

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T], *, name: str) -> T:
    """What the work gives, done on a thread of its own; who is cancelled meanwhile leaves it behind.

    Threads of a pool are joined before the interpreter ends, however long their work takes.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(tell: Callable[[], None]) -> None:
        if not done.done():
            tell()

    def run() -> None:
        try:
            tell = partial(done.set_result, work())
        except BaseException as error:
            tell = partial(done.set_exception, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, tell)

    Thread(target=run, name=name, daemon=True).start()
    return await done
