"""Consoles as processes of their own, and browsers that look at them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from stream_app.broker_config import free_port
from tests.integration.gateways import SHELVER
from tests.integration.workers import Topics, Worker

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
PATIENCE_MS = 60_000

NO_TOPICS = Topics("", "", "", "", "", "")


class Console(Worker):
    """``shelver console`` as a process; stopped when the ``with`` block ends.

    Where it ``opens`` a browser, that is one which writes the address into the log.
    """

    def __init__(self, gateway_url: str, *, log: Path, opens: bool = False, **settings: object) -> None:
        command = (SHELVER, "console", *(["--open"] if opens else []))
        super().__init__("", NO_TOPICS, log.parent, log=log, command=command)
        self.port = free_port()
        told = {"console_gateway_url": gateway_url, "console_port": self.port, **settings}
        self.environment = {
            **{name: value for name, value in self.environment.items() if not name.startswith("SHELVER_")},
            **{f"SHELVER_{name.upper()}": str(value) for name, value in told.items()},
            "BROWSER": "echo shown %s",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self) -> None:
        await self._until(lambda: self.get("/_stcore/health")[0] == 200)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none."""
    if CHROMIUM is None:
        # It is a package of the system, which nothing of Python's can bring along; `.ci/run` installs it.
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@contextmanager
def visitor(chromium: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A page of a visitor of their own, who is shown only what the console itself serves."""
    with chromium.new_context(**options) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        yield page
        strangers = {each for each in asked if urlsplit(each).hostname not in (None, "127.0.0.1", "")}
        assert not strangers, f"the page asks others: {strangers}"
