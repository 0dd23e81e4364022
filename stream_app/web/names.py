"""The names of servers to addresses, by the system's name service."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["SystemResolver"]

NUM_RESOLVER_THREADS = 32
"""A name whose servers do not answer holds one for tens of seconds, whatever deadline a request has."""


class SystemResolver(AbstractResolver):
    """The system's name service in threads of its own, so that slow names hold up nothing but other names."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(NUM_RESOLVER_THREADS, thread_name_prefix="web-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name as the connector takes them."""
        infos = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        """Let go of the threads; names being looked up are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
