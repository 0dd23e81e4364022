"""A product from the address of a shop's page: fetched safely, read in a process that can be stopped.

There are pages on which a parser works for minutes (libxml2 on one element with 300,000 attributes), a thread
cannot be stopped, and C code for what strangers wrote is better kept apart. So each page has a process of its
own, about half a second of a core, which knows none of the settings and passwords of this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE
from types import TracebackType
from typing import Final, Self

from aiohttp.abc import AbstractResolver

from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.page_process import packed, product_of
from stream_app.shop_pages.products import ListedProduct
from stream_app.shop_pages.settings import CONNECTIONS, ShopPageSettings
from stream_app.web.answers import Answer
from stream_app.web.errors import FetchError
from stream_app.web.fetching import WebFetcher
from stream_app.web.urls import origin

__all__ = ["ShopPages"]

COMMAND: Final = (sys.executable, "-P", "-B", "-m", "stream_app.shop_pages.page_process")
READ_SECONDS: Final = 30.0
"""Above the processor time that a page may take, for machines that are busy."""

KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH")

logger = logging.getLogger(__name__)


class ShopPages:
    """Reads products from pages of shops; made and used on one event loop.

    Args:
        settings: limits and what is allowed.
        resolver: turns names into addresses; by default the system's, in threads of its own.
    """

    def __init__(self, settings: ShopPageSettings, *, resolver: AbstractResolver | None = None) -> None:
        self._web = WebFetcher(settings.fetch_limits(), resolver=resolver)
        self._visits = asyncio.Semaphore(CONNECTIONS)  # so many pages are held in memory
        self._places = asyncio.Semaphore(settings.shop_page_processes)

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
        """The product that a page of a shop is about; whoever stops waiting stops its process too.

        Args:
            url: the address as somebody typed or copied it.

        Raises:
            PageError: there is none; `reason` says why, the message what to do, whatever the page is.
            RuntimeError: outside of `async with`.
        """
        async with self._visits:
            try:
                answer = await self._web.fetch(self._web.address_of(url))
            except FetchError as error:
                raise PageError(PageReason(error.reason), str(error)) from error
            async with self._places:
                return await _read_apart(answer)


async def _read_apart(answer: Answer) -> ListedProduct:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=_environment()
    )
    where = f"the page of {origin(answer.address)}"
    try:
        async with asyncio.timeout(READ_SECONDS):
            output, complaint = await process.communicate(packed(answer))
    except TimeoutError as error:
        raise PageError(
            PageReason.UNREADABLE, f"{where} takes more than {READ_SECONDS:g} s to read"
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    try:
        return product_of(output)
    except ValueError as error:
        complaints = complaint[-2_000:].decode(errors="replace")
        logger.warning("the process for %s ended with %s: %s", where, process.returncode, complaints)
        raise PageError(PageReason.UNREADABLE, f"{where} cannot be read within bounds") from error


def _environment() -> dict[str, str]:
    """What Python needs to find the same code, and nothing else."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
