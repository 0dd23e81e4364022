"""Bytes from URLs that anybody may have written: bounded, from public addresses only, without side effects.

The address is checked where the connection is made, on the very address the socket connects to, so neither an
odd spelling, a name with a private address, a redirect nor a name that changes its address gets past it. No
proxy or password from the environment is used, no cookie kept, no content encoding undone. One deadline holds
for everything an answer takes: waiting for a connection, the name, redirects and the last byte.

A host that fails again and again is left alone for a while.
"""

from __future__ import annotations

import logging
import socket
import time
from asyncio import timeout
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from stream_app.web.answers import Answer
from stream_app.web.budget import ByteBudget
from stream_app.web.errors import FetchError, FetchReason
from stream_app.web.hosts import HostPauses
from stream_app.web.names import SystemResolver
from stream_app.web.responses import BlockedAddressError, check_response, fetch_error, too_large
from stream_app.web.slots import HostSlots
from stream_app.web.urls import Network, check_url, is_fetchable, origin, parse_url, read_url

__all__ = ["FetchLimits", "WebFetcher"]

READ_BYTES = 65_536
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

_EXPECTED_ERRORS = (aiohttp.ClientError, OSError, ValueError)  # TimeoutError is an OSError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """How far a fetcher goes for an answer.

    Attributes:
        accept: the media types that are asked for, as in the header of that name.
        timeout_seconds: longest time for one answer, all redirects included.
        max_bytes: largest body.
        max_redirects: redirects followed for one answer.
        connections: requests under way at a time, in all.
        connections_per_host: and to one host.
        host_pause_seconds: how long a host is left alone that failed again and again; 0: it is not.
        allow_http: whether http:// is allowed beside https://.
        allowed_hosts: what `host_pattern` gave; only these hosts are allowed, or all when there are none.
        allowed_networks: networks that are fetched from although they are not public.
    """

    accept: str
    timeout_seconds: float
    max_bytes: int
    max_redirects: int
    connections: int
    connections_per_host: int
    host_pause_seconds: float
    allow_http: bool
    allowed_hosts: tuple[str, ...]
    allowed_networks: tuple[Network, ...]


class WebFetcher:
    """Fetches over one pool of connections; made and used on one event loop.

    Args:
        limits: how far it goes, and what is allowed.
        resolver: turns names into addresses; by default the system's, in threads of its own.
        clock: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        limits: FetchLimits,
        *,
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._resolver = resolver or SystemResolver()
        self._pauses = HostPauses(limits.host_pause_seconds, clock=clock)
        self._slots = HostSlots(per_host=limits.connections_per_host, in_all=limits.connections)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the pool; needed before `fetch`."""
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            socket_factory=self._open_socket,
            limit=0,  # `HostSlots` holds it: a wait for our own connections is no fault of the host
            limit_per_host=self._limits.connections_per_host,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # `fetch` holds the one deadline
            headers={
                "User-Agent": "shelver",
                "Accept": self._limits.accept,
                "Accept-Encoding": "identity",
            },
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._resolver.close()

    def address_of(self, url: str) -> URL:
        """The address that a URL means, checked as far as it can be before any connection.

        Raises:
            FetchError: `invalid_url` or `blocked`.
        """
        return parse_url(
            url, allow_http=self._limits.allow_http, allowed_hosts=self._limits.allowed_hosts
        ).with_fragment(None)

    async def fetch(self, address: URL, budget: ByteBudget | None = None) -> Answer:
        """Return what a server sends for an address, whatever that is.

        Args:
            address: of `address_of`.
            budget: what the bytes of the body are counted in.

        Raises:
            FetchError: there is nothing to be had; `reason` says why, whatever the address or its server do.
            RuntimeError: before `start`.
        """
        session = self._pool()
        self._pauses.check(address)
        asked = False
        try:
            async with timeout(self._limits.timeout_seconds), self._slots.place(origin(address)):
                asked = True
                answer = await self._follow(session, address, budget or ByteBudget(self._limits.max_bytes))
        except FetchError:
            raise
        except Exception as error:  # aiohttp has no common base for what a hostile server can make it raise
            if not isinstance(error, _EXPECTED_ERRORS):
                logger.warning("unexpected fault while fetching from %s", origin(address), exc_info=error)
            failure = fetch_error(error, address)
            if asked:
                self._pauses.failed(address, failure.reason)
            raise failure from error
        self._pauses.worked(address)
        return answer

    def check_started(self) -> None:
        """Raise RuntimeError before `start` and after `close`."""
        self._pool()

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("start() comes before fetch()")
        return self._session

    async def _follow(self, session: aiohttp.ClientSession, address: URL, budget: ByteBudget) -> Answer:
        for _ in range(self._limits.max_redirects + 1):
            outcome = await self._request(session, address, budget)
            if isinstance(outcome, Answer):
                return outcome
            address = outcome
        raise FetchError(
            FetchReason.TOO_MANY_REDIRECTS,
            f"more than {self._limits.max_redirects} redirects, the last to {origin(address)}",
        )

    async def _request(
        self, session: aiohttp.ClientSession, address: URL, budget: ByteBudget
    ) -> Answer | URL:
        async with session.get(address, allow_redirects=False) as response:
            if response.status in REDIRECT_STATUSES:
                return self._redirect_target(address, response)
            check_response(response, address)
            body = await self._read(response, address, budget)
            return Answer(address, response.headers.get("Content-Type", ""), body)

    def _redirect_target(self, address: URL, response: aiohttp.ClientResponse) -> URL:
        location = response.headers.get("Location", "")
        if not location:
            raise FetchError(FetchReason.UNAVAILABLE, f"{origin(address)} redirects to nowhere")
        target = read_url(location)
        return check_url(
            address.join(target),
            allow_http=self._limits.allow_http,
            allowed_hosts=self._limits.allowed_hosts,
        )

    async def _read(self, response: aiohttp.ClientResponse, address: URL, budget: ByteBudget) -> bytes:
        limit = self._limits.max_bytes
        if (response.content_length or 0) > limit:
            raise too_large(address, limit)
        num_bytes, chunks = 0, list[bytes]()
        try:
            async for chunk in response.content.iter_chunked(READ_BYTES):
                budget.take(len(chunk))
                num_bytes += len(chunk)
                chunks.append(chunk)
                if num_bytes > limit:
                    raise too_large(address, limit)
        except BaseException:
            budget.give_back(num_bytes)
            raise
        if not num_bytes:
            raise FetchError(FetchReason.EMPTY, f"{origin(address)} answered without a body")
        return b"".join(chunks)

    def _open_socket(self, info: tuple[Any, Any, int, str, Sequence[Any]]) -> socket.socket:
        """Make the socket for one address, the last step before it connects to it."""
        family, kind, protocol, _, address = info
        if not is_fetchable(str(address[0]), self._limits.allowed_networks):
            raise BlockedAddressError
        return socket.socket(family=family, type=kind, proto=protocol)
