"""Requests for pictures that are under way: one for an address, and only so many for a host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["HostSlots", "SharedRequests"]


@dataclass(slots=True)
class _Request:
    task: asyncio.Task[bytes]
    num_waiting: int = 0


class SharedRequests:
    """Lets all who want the same address at the same time wait for one request.

    One who stops waiting leaves it to the others; when nobody is left it is cancelled.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, _Request] = {}

    def __contains__(self, address: str) -> bool:
        return address in self._under_way

    async def fetch(self, address: str, request: Callable[[], Coroutine[None, None, bytes]]) -> bytes:
        """What `request` returns or raises, begun now or when somebody else asked."""
        shared = self._under_way.get(address)
        if shared is None:
            shared = self._under_way[address] = _Request(asyncio.create_task(request()))
            shared.task.add_done_callback(lambda _: self._under_way.pop(address, None))
        shared.num_waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.num_waiting -= 1
            if not shared.num_waiting:
                shared.task.cancel()
                if self._under_way.get(address) is shared:
                    del self._under_way[address]

    async def close(self) -> None:
        """Cancel everything; those who wait are cancelled as well."""
        tasks = [request.task for request in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class HostSlots:
    """A number of places for each host, taken before one of the places for all hosts.

    In that order a host that never answers holds its own places and no more, and others go past it.

    Args:
        per_host: requests to one host at a time.
        in_all: requests to all hosts at a time.
    """

    def __init__(self, *, per_host: int, in_all: int) -> None:
        self._per_host = per_host
        self._in_all = asyncio.Semaphore(in_all)
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def place(self, host: str) -> AsyncIterator[None]:
        """Wait for a place and hold it; hosts that nobody waits for are forgotten."""
        places, num_users = self._hosts.get(host) or (asyncio.Semaphore(self._per_host), 0)
        self._hosts[host] = (places, num_users + 1)
        try:
            async with places, self._in_all:
                yield
        finally:
            places, num_users = self._hosts.pop(host)
            if num_users > 1:
                self._hosts[host] = (places, num_users - 1)
