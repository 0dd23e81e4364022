"""Requests for pictures that are under way: one for an address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

__all__ = ["SharedRequests"]


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
