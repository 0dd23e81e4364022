"""Products from the addresses of pages: a server of the test's own, a real process for each page.

127.0.0.1 stands for a public address: tests allow just that one. 127.0.0.2 stands for the private ones.
"""

import asyncio
import sys
from ipaddress import ip_network
from typing import Any

import psutil
import pytest
from pydantic import ValidationError
from yarl import URL

from stream_app.shop_pages import reading
from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.page_process import packed, product_of
from stream_app.shop_pages.products import PageSource
from stream_app.shop_pages.reading import ShopPages
from stream_app.shop_pages.settings import ShopPageSettings
from stream_app.web.answers import Answer
from stream_app.web.errors import FetchReason
from tests.picture_server import PRIVATE, PUBLIC, PictureServer, redirect, response
from tests.unit.stream_app.shop_pages.pages import ROBOT, ld, page

HTML = {"Content_Type": "text/html; charset=utf-8"}
PAGE = response(page(ld(ROBOT)).encode(), **HTML)


def settings(**changes: Any) -> ShopPageSettings:
    values = {
        "shop_page_allow_http": True,
        "shop_page_allowed_networks": (ip_network(f"{PUBLIC}/32"),),
        **changes,
    }
    return ShopPageSettings(**values)


async def refusal(url: str, page_settings: ShopPageSettings | None = None) -> PageError:
    async with ShopPages(page_settings or settings()) as pages:
        with pytest.raises(PageError) as caught:
            await pages.read(url)
    assert "secret" not in str(caught.value)
    return caught.value


def page_processes() -> list[psutil.Process]:
    """Those of this process; other tests may have children of their own."""
    return [child for child in psutil.Process().children() if "-P" in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


async def test_a_product_is_read_behind_a_redirect_in_the_encoding_of_the_header() -> None:
    text = page("<title>Théière</title>" + '<meta name="description" content="Émaillée.">')

    async def respond(path: str, writer: asyncio.StreamWriter) -> None:
        latin = response(text.encode("latin-1"), Content_Type="text/html; charset=iso-8859-1")
        writer.write(latin if path == "/p/2" else redirect("/p/2"))

    async with PictureServer(respond) as server, ShopPages(settings()) as pages:
        product = await pages.read(server.url("/p/1"))
    assert (product.title, product.description) == ("Théière", "Émaillée.")
    assert (product.address, product.source) == (server.url("/p/2"), PageSource.PAGE)
    assert "accept: text/html" in server.requests[0].lower()


async def test_several_pages_are_read_at_once_and_never_mixed() -> None:
    async def respond(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(page(ld({**ROBOT, "name": f"Robot {path}"})).encode(), **HTML))

    async with PictureServer(respond) as server, ShopPages(settings()) as pages:
        products = await asyncio.gather(*(pages.read(server.url(f"/{number}")) for number in range(4)))
    assert [product.title for product in products] == [f"Robot /{number}" for number in range(4)]
    assert not page_processes()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response(b"gone", "404 Not Found"), PageReason.NOT_FOUND),
        (response(b"no", "403 Forbidden"), PageReason.UNAVAILABLE),
        (response(b"", **HTML), PageReason.EMPTY),
        (response(b"x" * 2_000, **HTML), PageReason.TOO_LARGE),
        (response(b"\x1f\x8b", Content_Encoding="gzip", **HTML), PageReason.UNSUPPORTED_FORMAT),
        (response(b"\xff\xd8", Content_Type="image/jpeg"), PageReason.NOT_HTML),
        (response(b"<p>Bonjour", **HTML), PageReason.NO_PRODUCT),
        (redirect("/again"), PageReason.TOO_MANY_REDIRECTS),
        (redirect("file:///etc/passwd"), PageReason.BLOCKED),
    ],
    ids=lambda value: value.value if isinstance(value, PageReason) else "",
)
async def test_a_page_that_cannot_be_had_has_its_reason(answer: bytes, reason: PageReason) -> None:
    async with PictureServer(answer) as server:
        error = await refusal(server.url("/p?key=secret"), settings(shop_page_max_bytes=1_024))
    assert error.reason is reason
    assert "; " in str(error)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", PageReason.INVALID_URL),
        ("robot aspirateur", PageReason.INVALID_URL),
        ("https://[", PageReason.INVALID_URL),
        ("http://127.1/", PageReason.BLOCKED),
        ("http://169.254.169.254/latest/meta-data/", PageReason.BLOCKED),
        ("http://user:secret@shop.example/", PageReason.BLOCKED),
        ("ftp://shop.example/", PageReason.BLOCKED),
    ],
)
async def test_an_address_is_checked_like_that_of_a_picture(url: str, reason: PageReason) -> None:
    assert (await refusal(url)).reason is reason


async def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    async with PictureServer(PAGE, PRIVATE) as inside, PictureServer(redirect(inside.url())) as server:
        assert (await refusal(server.url())).reason is PageReason.BLOCKED
    assert inside.num_connections == 0


async def test_http_and_private_addresses_are_refused_by_default() -> None:
    async with PictureServer(PAGE) as server:
        assert (await refusal(server.url(), ShopPageSettings())).reason is PageReason.BLOCKED
        error = await refusal(server.url(), settings(shop_page_allowed_networks=()))
    assert error.reason is PageReason.BLOCKED
    assert "SHELVER_SHOP_PAGE_ALLOW_HTTP" in str(error)
    assert server.num_connections == 0


async def test_only_allowed_shops_are_read() -> None:
    async with PictureServer(PAGE) as server:
        error = await refusal(server.url(), settings(shop_page_allowed_hosts=("shop.example",)))
    assert error.reason is PageReason.BLOCKED
    assert server.num_connections == 0


async def test_a_server_that_does_not_answer_runs_out_of_time() -> None:
    async def never(_path: str, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with PictureServer(never) as server:
        error = await refusal(server.url(), settings(shop_page_timeout_seconds=0.1))
    assert error.reason is PageReason.TIMEOUT


class TestProcess:
    def run(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        monkeypatch.setattr(reading, "COMMAND", (sys.executable, "-P", "-c", code))

    async def test_a_page_that_takes_too_much_time_ends_its_process(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        names = " ".join(f"a{number}=b" for number in range(200_000))
        limited = "from stream_app.shop_pages import page_process as p; p.CPU_SECONDS = 1; p.main()"
        self.run(monkeypatch, limited)
        async with PictureServer(response(f"<p {names}>".encode(), **HTML)) as server:
            error = await refusal(server.url())
        assert error.reason is PageReason.UNREADABLE
        assert "the process for the page of http://127.0.0.1" in caplog.text
        assert not page_processes()

    async def test_a_page_that_nobody_waits_for_any_more_ends_its_process(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.run(monkeypatch, "import time; time.sleep(600)")
        async with PictureServer(PAGE) as server, ShopPages(settings()) as pages:
            waiting = asyncio.create_task(pages.read(server.url()))
            while not page_processes():
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert not page_processes()

    async def test_a_process_that_never_ends_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run(monkeypatch, "import time; time.sleep(600)")
        monkeypatch.setattr(reading, "READ_SECONDS", 0.2)
        async with PictureServer(PAGE) as server:
            error = await refusal(server.url())
        assert error.reason is PageReason.UNREADABLE
        assert "takes more than 0.2 s" in str(error)
        assert not page_processes()

    async def test_a_process_gets_no_setting_of_this_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHELVER_SASL_PASSWORD", "secret")
        self.run(
            monkeypatch,
            "import os, json; told = [name for name in os.environ if 'SHELVER' in name];"
            " print(json.dumps({'reason': 'no_product', 'problem': repr(told)}))",
        )
        async with PictureServer(PAGE) as server:
            assert (await refusal(server.url())).problem == "[]"

    async def test_a_fault_of_our_own_is_told_without_the_page(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.run(monkeypatch, "1 / 0")
        async with PictureServer(PAGE) as server:
            assert (await refusal(server.url("/?secret"))).reason is PageReason.UNREADABLE
        assert "ZeroDivisionError" in caplog.text
        assert "secret" not in caplog.text


@pytest.mark.parametrize("reason", FetchReason)
def test_a_page_has_every_reason_that_a_fetch_has(reason: FetchReason) -> None:
    assert PageReason(reason).value == reason.value


@pytest.mark.parametrize("reason", PageReason)
def test_every_reason_says_what_to_do(reason: PageReason) -> None:
    assert len(str(PageError(reason, "x"))) > 30


def test_what_a_process_says_is_told_again() -> None:
    with pytest.raises(PageError) as caught:
        product_of(b'{"reason": "not_html", "problem": "x sent a picture"}')
    assert (caught.value.reason, caught.value.problem) == (PageReason.NOT_HTML, "x sent a picture")


@pytest.mark.parametrize(
    "output", [b"", b"<html>", b"{}", b'{"title": 1}', b'{"reason": "other", "problem": "x"}']
)
def test_what_a_process_should_not_say_is_noticed(output: bytes) -> None:
    with pytest.raises(ValidationError):
        product_of(output)


def test_an_answer_is_one_line_and_a_body() -> None:
    written = packed(Answer(URL("https://shop.example/é?a=\n"), "text/html\udcff", b"\n{}\n"))
    head, body = written.split(b"\n", 1)
    assert head.startswith(b'{"address": "https://shop.example/%C3%A9?')
    assert body == b"\n{}\n"
