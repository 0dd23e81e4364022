"""How many requests are under way at a time: to a host, and in all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["HostSlots"]


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
