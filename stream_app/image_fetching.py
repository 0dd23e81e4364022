"""Pictures from URLs that anybody may have written: bounded, to public addresses only, without side effects.

The address is checked where the connection is made, on the very address the socket connects to, so neither an
odd spelling, a name with a private address, a redirect nor a name that changes its address gets past it. No
proxy or password from the environment is used, no cookie kept, no content encoding undone. One deadline holds
for everything a picture takes: waiting for a connection, the name, redirects and the last byte.

What was fetched is kept for a while, and listings that want one address at the same time share a request.
Failures are not kept; a host that fails again and again is left alone.
"""

from __future__ import annotations

import logging
import socket
import time
from asyncio import gather, timeout
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Annotated, Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from pydantic import AfterValidator, ConfigDict, Field
from yarl import URL

from models.errors import ImageError, ImageReason
from stream_app.image_budget import ByteBudget
from stream_app.image_cache import ImageCache, ImageCacheSettings, ImageLookup
from stream_app.image_flights import HostSlots, SharedRequests
from stream_app.image_hosts import HostPauses
from stream_app.image_names import SystemResolver
from stream_app.image_responses import BlockedAddressError, check_response, image_error, too_large
from stream_app.image_urls import (
    Network,
    check_url,
    host_pattern,
    is_fetchable,
    origin,
    parse_url,
    read_url,
)

__all__ = ["ImageFetchSettings", "ImageFetcher"]

READ_BYTES = 65_536
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

_EXPECTED_ERRORS = (aiohttp.ClientError, OSError, ValueError)  # TimeoutError is an OSError

logger = logging.getLogger(__name__)


class ImageFetchSettings(ImageCacheSettings):
    """How far the service goes for a picture."""

    model_config = ConfigDict(frozen=True)

    image_fetch_timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="Longest time for one picture from a URL, all redirects included."
    )
    image_fetch_max_bytes: int = Field(
        10 * 1024 * 1024,
        ge=1024,
        le=100 * 1024 * 1024,
        description="Largest picture fetched from a URL, in bytes.",
    )
    image_fetch_batch_bytes: int = Field(
        128 * 2**20,
        ge=1024,
        description="Bytes of the pictures that are fetched for one batch; those beyond are left out.",
    )
    image_fetch_max_redirects: int = Field(3, ge=0, le=10, description="Redirects followed for one picture.")
    image_fetch_connections: int = Field(
        64, ge=1, le=1024, description="Open connections to picture servers."
    )
    image_fetch_connections_per_host: int = Field(
        32, ge=1, le=1024, description="Open connections to one picture server."
    )
    image_host_pause_seconds: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="How long a picture server is left alone that failed to answer 5 times.",
    )
    image_allow_http: bool = Field(
        default=False, description="Fetch pictures from http:// URLs too; only https:// ones by default."
    )
    image_allowed_hosts: tuple[Annotated[str, AfterValidator(host_pattern)], ...] = Field(
        (),
        description=(
            "Hosts that pictures are fetched from, redirects included; by default all that are public. "
            '"*.example.com" stands for every host below it: ["shop.example", "*.cdn.example"].'
        ),
    )
    image_allowed_networks: tuple[Network, ...] = Field(
        (),
        description=(
            "Networks pictures may be fetched from although they are not public, such as that of your own "
            'picture store: ["10.20.0.0/16"]. Anyone who publishes a listing can then make requests to them.'
        ),
    )


class ImageFetcher:
    """Fetches pictures over one pool of connections; made and used on one event loop.

    Args:
        settings: limits and what is allowed.
        resolver: turns names into addresses; by default the system's, in threads of its own.
        clock: seconds on a clock that never goes back.
        on_lookup: told of each picture that is asked for, whether it was there.
    """

    def __init__(
        self,
        settings: ImageFetchSettings,
        *,
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_lookup: Callable[[ImageLookup], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._resolver = resolver or SystemResolver()
        self._on_lookup = on_lookup
        self._cache = ImageCache(settings, clock=clock)
        self._pauses = HostPauses(settings.image_host_pause_seconds, clock=clock)
        self._requests = SharedRequests()
        self._slots = HostSlots(
            per_host=settings.image_fetch_connections_per_host, in_all=settings.image_fetch_connections
        )
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
            limit_per_host=self._settings.image_fetch_connections_per_host,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # `fetch` holds the one deadline
            headers={"User-Agent": "shelver", "Accept": "image/*", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections; pictures under way are cancelled."""
        await self._requests.close()
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._resolver.close()

    async def fetch_all(self, urls: Iterable[str]) -> dict[str, bytes | ImageReason]:
        """Return what is behind the addresses of a batch: bytes, or why there are none.

        Takes no longer than one picture may, and holds no more bytes than the pictures of a batch may have.
        Whatever an address does, it costs its own listing a picture and no more.

        Raises:
            RuntimeError: before `start`.
        """
        self._pool()
        budget = ByteBudget(self._settings.image_fetch_batch_bytes)

        async def fetch(url: str) -> bytes | ImageReason:
            try:
                return await self.fetch(url, budget)
            except ImageError as error:
                return error.reason
            except Exception as error:
                logger.warning("unexpected fault of a picture's address", exc_info=error)
                return ImageReason.UNAVAILABLE

        wanted = list(dict.fromkeys(urls))
        return dict(zip(wanted, await gather(*map(fetch, wanted)), strict=True))

    async def fetch(self, url: str, budget: ByteBudget | None = None) -> bytes:
        """Return the bytes behind a URL, whatever they are; a picture is only made of them later.

        Args:
            url: the address as the producer wrote it.
            budget: what its bytes are counted in, unless they are kept already or shared with another batch.

        Raises:
            ImageError: there is no picture to be had; `reason` says why, whatever the URL or its server do.
            RuntimeError: before `start`.
        """
        session = self._pool()
        address = parse_url(
            url,
            allow_http=self._settings.image_allow_http,
            allowed_hosts=self._settings.image_allowed_hosts,
        ).with_fragment(None)
        key = str(address)
        if (kept := self._cache.get(key)) is not None:
            self._on_lookup(ImageLookup.HIT)
            return kept
        self._on_lookup(ImageLookup.SHARED if key in self._requests else ImageLookup.MISS)
        counted = budget or ByteBudget(self._settings.image_fetch_max_bytes)
        return await self._requests.fetch(key, lambda: self._fetch_and_keep(session, address, counted))

    async def _fetch_and_keep(
        self, session: aiohttp.ClientSession, address: URL, budget: ByteBudget
    ) -> bytes:
        body = await self._fetch_now(session, address, budget)
        self._cache.put(str(address), body)
        return body

    async def _fetch_now(self, session: aiohttp.ClientSession, address: URL, budget: ByteBudget) -> bytes:
        self._pauses.check(address)
        asked = False
        try:
            async with (
                timeout(self._settings.image_fetch_timeout_seconds),
                self._slots.place(origin(address)),
            ):
                asked = True
                body = await self._follow(session, address, budget)
        except ImageError:
            raise
        except Exception as error:  # aiohttp has no common base for what a hostile server can make it raise
            if not isinstance(error, _EXPECTED_ERRORS):
                logger.warning("unexpected fault while fetching a picture", exc_info=error)
            failure = image_error(error, address)
            if asked:
                self._pauses.failed(address, failure.reason)
            raise failure from error
        self._pauses.worked(address)
        return body

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("ImageFetcher.start() comes before fetch()")
        return self._session

    async def _follow(self, session: aiohttp.ClientSession, address: URL, budget: ByteBudget) -> bytes:
        for _ in range(self._settings.image_fetch_max_redirects + 1):
            outcome = await self._request(session, address, budget)
            if isinstance(outcome, bytes):
                return outcome
            address = outcome
        raise ImageError(
            ImageReason.TOO_MANY_REDIRECTS,
            f"more than {self._settings.image_fetch_max_redirects} redirects, the last to {origin(address)}",
        )

    async def _request(self, session: aiohttp.ClientSession, address: URL, budget: ByteBudget) -> bytes | URL:
        async with session.get(address, allow_redirects=False) as response:
            if response.status in REDIRECT_STATUSES:
                return self._redirect_target(address, response)
            check_response(response, address)
            return await self._read(response, address, budget)

    def _redirect_target(self, address: URL, response: aiohttp.ClientResponse) -> URL:
        location = response.headers.get("Location", "")
        if not location:
            raise ImageError(ImageReason.UNAVAILABLE, f"{origin(address)} redirects to nowhere")
        target = read_url(location)
        return check_url(
            address.join(target),
            allow_http=self._settings.image_allow_http,
            allowed_hosts=self._settings.image_allowed_hosts,
        )

    async def _read(self, response: aiohttp.ClientResponse, address: URL, budget: ByteBudget) -> bytes:
        limit = self._settings.image_fetch_max_bytes
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
            raise ImageError(ImageReason.EMPTY, f"{origin(address)} answered without a body")
        return b"".join(chunks)

    def _open_socket(self, info: tuple[Any, Any, int, str, Sequence[Any]]) -> socket.socket:
        """Make the socket for one address, the last step before it connects to it."""
        family, kind, protocol, _, address = info
        if not is_fetchable(str(address[0]), self._settings.image_allowed_networks):
            raise BlockedAddressError
        return socket.socket(family=family, type=kind, proto=protocol)
