"""Pictures from URLs that anybody may have written, over the one fetcher of such URLs (`stream_app.web`).

What was fetched is kept for a while, and listings that want one address at the same time share a request.
Failures are not kept.
"""

from __future__ import annotations

import logging
import time
from asyncio import gather
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Annotated, Self

from aiohttp.abc import AbstractResolver
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from yarl import URL

from models.errors import ImageError, ImageReason
from stream_app.image_cache import ImageCache, ImageCacheSettings, ImageLookup
from stream_app.image_flights import SharedRequests
from stream_app.web.budget import ByteBudget
from stream_app.web.errors import FetchError
from stream_app.web.fetching import FetchLimits, WebFetcher
from stream_app.web.urls import Network, host_pattern

__all__ = ["ImageAddressSettings", "ImageFetchSettings", "ImageFetcher", "as_image_error"]

logger = logging.getLogger(__name__)


class ImageAddressSettings(BaseModel):
    """Which addresses pictures may be fetched from."""

    model_config = ConfigDict(frozen=True)

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


class ImageFetchSettings(ImageAddressSettings, ImageCacheSettings):
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

    def fetch_limits(self) -> FetchLimits:
        """The same, as the fetcher takes it."""
        return FetchLimits(
            accept="image/*",
            timeout_seconds=self.image_fetch_timeout_seconds,
            max_bytes=self.image_fetch_max_bytes,
            max_redirects=self.image_fetch_max_redirects,
            connections=self.image_fetch_connections,
            connections_per_host=self.image_fetch_connections_per_host,
            host_pause_seconds=self.image_host_pause_seconds,
            allow_http=self.image_allow_http,
            allowed_hosts=self.image_allowed_hosts,
            allowed_networks=self.image_allowed_networks,
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
        self._on_lookup = on_lookup
        self._cache = ImageCache(settings, clock=clock)
        self._requests = SharedRequests()
        self._web = WebFetcher(settings.fetch_limits(), resolver=resolver, clock=clock)

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
        await self._web.start()

    async def close(self) -> None:
        """Close all connections; pictures under way are cancelled."""
        await self._requests.close()
        await self._web.close()

    async def fetch_all(self, urls: Iterable[str]) -> dict[str, bytes | ImageReason]:
        """Return what is behind the addresses of a batch: bytes, or why there are none.

        Takes no longer than one picture may, and holds no more bytes than the pictures of a batch may have.
        Whatever an address does, it costs its own listing a picture and no more.

        Raises:
            RuntimeError: before `start`.
        """
        self._web.check_started()
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
        self._web.check_started()
        with as_image_error():
            address = self._web.address_of(url)
            key = str(address)
            if (kept := self._cache.get(key)) is not None:
                self._on_lookup(ImageLookup.HIT)
                return kept
            self._on_lookup(ImageLookup.SHARED if key in self._requests else ImageLookup.MISS)
            return await self._requests.fetch(key, lambda: self._fetch_and_keep(address, budget))

    async def _fetch_and_keep(self, address: URL, budget: ByteBudget | None) -> bytes:
        body = (await self._web.fetch(address, budget)).body
        self._cache.put(str(address), body)
        return body


@contextmanager
def as_image_error() -> Iterator[None]:
    """Tell why an address was refused or gave nothing as the reason of a picture."""
    try:
        yield
    except FetchError as error:
        raise ImageError(ImageReason(error.reason), str(error)) from error
