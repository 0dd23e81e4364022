"""A product from the address of a shop's page: fetched safely, read within bounds."""

from __future__ import annotations

import logging
from asyncio import Semaphore
from functools import partial
from types import TracebackType
from typing import Self

from aiohttp.abc import AbstractResolver

from stream_app.daemon_threads import in_daemon_thread
from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.extraction import read_page
from stream_app.shop_pages.products import ListedProduct
from stream_app.shop_pages.settings import ShopPageSettings
from stream_app.web.errors import FetchError
from stream_app.web.fetching import Answer, WebFetcher
from stream_app.web.urls import origin

__all__ = ["ShopPages"]

logger = logging.getLogger(__name__)


class ShopPages:
    """Reads products from pages of shops; made and used on one event loop.

    Args:
        settings: limits and what is allowed.
        resolver: turns names into addresses; by default the system's, in threads of its own.
    """

    def __init__(self, settings: ShopPageSettings, *, resolver: AbstractResolver | None = None) -> None:
        self._web = WebFetcher(settings.fetch_limits(), resolver=resolver)
        self._places = Semaphore(settings.shop_page_threads)

    async def __aenter__(self) -> Self:
        await self._web.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._web.close()

    async def read(self, url: str) -> ListedProduct:
        """The product that a page of a shop is about.

        Args:
            url: the address as somebody typed or copied it.

        Raises:
            PageError: there is none; `reason` says why, the message what to do, whatever the page is.
            RuntimeError: outside of `async with`.
        """
        try:
            answer = await self._web.fetch(self._web.address_of(url))
        except FetchError as error:
            raise PageError(PageReason(error.reason), str(error)) from error
        async with self._places:
            return await in_daemon_thread(partial(_read, answer), name="shop-page")


def _read(answer: Answer) -> ListedProduct:
    try:
        return read_page(answer)
    except PageError:
        raise
    except Exception as error:
        logger.warning("unexpected fault while reading a page of %s", origin(answer.address), exc_info=error)
        raise PageError(
            PageReason.UNREADABLE, f"the page of {origin(answer.address)} cannot be read"
        ) from error
