"""Pictures from URLs that anybody may have written.

127.0.0.1 stands for a public address: tests allow just that one. 127.0.0.2 stands for the private ones, with
a listener that counts the connections it gets.
"""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from yarl import URL

from models.errors import ImageError, ImageReason
from stream_app.image_cache import ImageLookup
from stream_app.image_fetching import ImageFetcher, ImageFetchSettings
from stream_app.web.budget import ByteBudget
from stream_app.web.errors import FetchError, FetchReason
from stream_app.web.hosts import HostPauses
from stream_app.web.urls import parse_url
from tests.picture_server import PICTURE, PRIVATE, PUBLIC, PictureServer, redirect, response
from tests.strategies import damaged


class FakeNames(AbstractResolver):
    """Names and their addresses; a list of lists gives a new answer each time."""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(answers) for name, answers in names.items()}
        self.num_lookups = 0

    def add(self, name: str, *addresses: str) -> None:
        self._answers[name] = [addresses]

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - passed by name
    ) -> list[ResolveResult]:
        self.num_lookups += 1
        if host not in self._answers:
            raise OSError(f"no such name: {host}")
        answers = self._answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


ANSWERS = (
    response(),
    redirect("/2.jpg"),
    redirect("https://shop.example/"),
    redirect("//a:b"),
    response(status="404 Not Found"),
    response(Content_Encoding="gzip"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.0 200\r\n\r\nabc",
    b"HTTP/1.1 100 Continue\r\n\r\n" + response(),
)


def settings(**changes: Any) -> ImageFetchSettings:
    values = {"image_allow_http": True, "image_allowed_networks": (ip_network(f"{PUBLIC}/32"),), **changes}
    return ImageFetchSettings(**values)


@pytest.fixture
async def private_server() -> AsyncIterator[PictureServer]:
    async with PictureServer(response(), PRIVATE) as server:
        yield server
        assert server.num_connections == 0


async def reason_for(
    url: str, fetch_settings: ImageFetchSettings, names: AbstractResolver | None = None
) -> ImageReason:
    async with ImageFetcher(fetch_settings, resolver=names) as fetcher:
        with pytest.raises(ImageError) as caught:
            await fetcher.fetch(url)
    assert "?" not in str(caught.value)
    return caught.value.reason


async def test_the_bytes_arrive_as_they_were_sent() -> None:
    async with PictureServer(response()) as server, ImageFetcher(settings()) as fetcher:
        assert await fetcher.fetch(server.url()) == PICTURE
        assert await fetcher.fetch(server.url("/é à.jpg?x=ü")) == PICTURE
    assert "/%C3%A9%20%C3%A0.jpg?x=%C3%BC" in server.requests[1]


async def test_connections_are_used_again() -> None:
    async with PictureServer(response()) as server, ImageFetcher(settings()) as fetcher:
        for number in range(5):
            await fetcher.fetch(server.url(f"/{number}.jpg"))
    assert server.num_connections == 1
    assert len(server.requests) == 5


async def test_a_body_without_an_announced_length_arrives_whole() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    until_close = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"
    for answer in (chunked, until_close):
        async with PictureServer(answer) as server, ImageFetcher(settings()) as fetcher:
            assert await fetcher.fetch(server.url()) == b"abcde"


class TestAddresses:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.1.",
            "0.0.0.0",  # noqa: S104 - a target, nothing listens there
            "0",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[::1]",
            "[::]",
            "[fe80::1%25lo]",
            "①②⑦.⓪.⓪.①",
            "127。0。0。1",
            "localhost",
            "LOCALHOST",
            "169.254.169.254",
            "100.64.0.1",
            "10.0.0.1",
            "[fd00:ec2::254]",
            "224.0.0.1",
            "[ff02::1]",
            "[2001::7f00:1]",
            "[::ffff:0:127.0.0.1]",
            "255.255.255.255",
            "192.168.0.1",
        ],
    )
    async def test_no_byte_reaches_this_machine_by_default(self, host: str) -> None:
        async with PictureServer(response(), "127.0.0.1") as server:
            url = server.url(host=host)
            assert await reason_for(url, settings(image_allowed_networks=())) is ImageReason.BLOCKED
        assert server.num_connections == 0

    async def test_http_is_refused_by_default(self) -> None:
        async with PictureServer(response()) as server:
            assert await reason_for(server.url(), ImageFetchSettings()) is ImageReason.BLOCKED
        assert server.num_connections == 0

    async def test_a_name_with_a_private_address_is_not_fetched(self, private_server: PictureServer) -> None:
        names = FakeNames(inside_example=[[PRIVATE, "::1", f"::ffff:{PRIVATE}", f"64:ff9b::{PRIVATE}"]])
        url = private_server.url(host="inside.example")
        assert await reason_for(url, settings(), names) is ImageReason.BLOCKED

    async def test_of_a_name_with_both_only_the_public_address_is_used(
        self, private_server: PictureServer
    ) -> None:
        names = FakeNames(both_example=[[PRIVATE, "::1", PUBLIC]])
        async with (
            PictureServer(response(), PUBLIC, private_server.port) as server,
            ImageFetcher(settings(), resolver=names) as fetcher,
        ):
            assert await fetcher.fetch(server.url(host="both.example")) == PICTURE

    async def test_a_name_that_changes_its_address_is_checked_each_time(
        self, private_server: PictureServer
    ) -> None:
        names = FakeNames(rebinding_example=[[PUBLIC], [PRIVATE]])
        target = private_server.url(host="rebinding.example")
        async with PictureServer(redirect(target)) as server:
            url = server.url(host="rebinding.example")
            assert await reason_for(url, settings(), names) is ImageReason.BLOCKED
        assert names.num_lookups == 2

    @pytest.mark.parametrize("host", [PRIVATE, f"[::ffff:{PRIVATE}]", "127.2", "0x7f.2", "inside.example"])
    async def test_a_redirect_to_a_private_address_is_not_followed(
        self, private_server: PictureServer, host: str
    ) -> None:
        names = FakeNames(inside_example=[[PRIVATE]])
        async with PictureServer(redirect(private_server.url(host=host))) as server:
            assert await reason_for(server.url(), settings(), names) is ImageReason.BLOCKED
        assert server.num_connections == 1

    async def test_neither_proxy_nor_password_of_the_environment_is_used(
        self, private_server: PictureServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {PUBLIC} login me password secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, private_server.url(""))
        async with PictureServer(response()) as server, ImageFetcher(settings()) as fetcher:
            assert await fetcher.fetch(server.url()) == PICTURE
        assert "authorization" not in server.requests[0].lower()

    async def test_cookies_are_not_kept(self) -> None:
        async with (
            PictureServer(response(Set_Cookie="a=b")) as server,
            ImageFetcher(settings()) as fetcher,
        ):
            await fetcher.fetch(server.url("/1.jpg"))
            await fetcher.fetch(server.url("/2.jpg"))
        assert "cookie" not in server.requests[1].lower()


class TestRedirects:
    async def test_a_relative_redirect_is_followed(self) -> None:
        async def respond(path: str, writer: asyncio.StreamWriter) -> None:
            writer.write(response() if path == "/2.jpg" else redirect("2.jpg", "308 Permanent Redirect"))

        async with PictureServer(respond) as server, ImageFetcher(settings()) as fetcher:
            assert await fetcher.fetch(server.url()) == PICTURE

    @pytest.mark.parametrize(
        ("location", "reason"),
        [
            ("file:///etc/passwd", ImageReason.BLOCKED),
            ("http://user:secret@example.com/", ImageReason.BLOCKED),
            ("http://[broken", ImageReason.INVALID_URL),
            ("http://:80/", ImageReason.INVALID_URL),
            ("", ImageReason.UNAVAILABLE),
            ("/1.jpg", ImageReason.TOO_MANY_REDIRECTS),
        ],
    )
    async def test_a_redirect_is_checked_like_a_url(self, location: str, reason: ImageReason) -> None:
        async with PictureServer(redirect(location)) as server:
            assert await reason_for(server.url(), settings()) is reason
        assert len(server.requests) <= settings().image_fetch_max_redirects + 1

    async def test_a_redirect_from_https_does_not_lead_to_http(self) -> None:
        async with PictureServer(redirect("http://example.com/1.jpg")) as server:
            fetcher = ImageFetcher(settings(image_allow_http=False))
            await fetcher.start()
            web = fetcher._web
            with pytest.raises(FetchError, match="scheme 'http' is not allowed"):
                await web._request(web._pool(), URL(server.url()), ByteBudget(1_000))
            await fetcher.close()


class TestAllowedHosts:
    def settings(self, *hosts: str) -> ImageFetchSettings:
        return settings(image_allowed_hosts=hosts)

    @pytest.mark.parametrize("host", ["shop.example", "SHOP.example", "shop.example.", "a.cdn.example"])
    async def test_an_allowed_host_is_fetched_from(self, host: str) -> None:
        names = FakeNames(shop_example=[[PUBLIC]], a_cdn_example=[[PUBLIC]])
        names.add("shop.example.", PUBLIC)
        allowed = self.settings("Shop.Example", "*.cdn.example")
        async with PictureServer(response()) as server, ImageFetcher(allowed, resolver=names) as fetcher:
            assert await fetcher.fetch(server.url(host=host)) == PICTURE

    @pytest.mark.parametrize("host", ["other.example", "cdn.example", "shop.example.evil.example", PUBLIC])
    async def test_no_byte_reaches_another_host(self, host: str) -> None:
        names = FakeNames(**{name.replace(".", "_"): [[PUBLIC]] for name in ("other.example", "cdn.example")})
        allowed = self.settings("shop.example", "*.cdn.example")
        async with PictureServer(response()) as server:
            assert await reason_for(server.url(host=host), allowed, names) is ImageReason.BLOCKED
        assert server.num_connections == 0
        assert names.num_lookups == 0

    async def test_a_redirect_to_another_host_is_not_followed(self) -> None:
        names = FakeNames(shop_example=[[PUBLIC]], other_example=[[PUBLIC]])
        async with PictureServer(response()) as other:
            async with PictureServer(redirect(other.url(host="other.example"))) as server:
                url = server.url(host="shop.example")
                reason = await reason_for(url, self.settings("shop.example"), names)
            assert reason is ImageReason.BLOCKED
        assert other.num_connections == 0

    async def test_an_allowed_host_with_a_private_address_stays_blocked(
        self, private_server: PictureServer
    ) -> None:
        names = FakeNames(shop_example=[[PRIVATE]])
        url = private_server.url(host="shop.example")
        assert await reason_for(url, self.settings("shop.example"), names) is ImageReason.BLOCKED


class TestSharing:
    async def test_a_picture_is_fetched_once_and_kept_for_a_while(self) -> None:
        now, lookups = [0.0], list[ImageLookup]()
        async with (
            PictureServer(response()) as server,
            ImageFetcher(settings(), clock=lambda: now[0], on_lookup=lookups.append) as fetcher,
        ):
            for fragment in ("", "#a", "#b"):
                assert await fetcher.fetch(server.url() + fragment) == PICTURE
            assert len(server.requests) == 1
            now[0] += settings().image_cache_seconds
            assert await fetcher.fetch(server.url()) == PICTURE
        assert len(server.requests) == 2
        assert lookups == [ImageLookup.MISS, ImageLookup.HIT, ImageLookup.HIT, ImageLookup.MISS]

    async def test_listings_that_want_one_address_at_once_share_a_request(self) -> None:
        async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.05)
            writer.write(response())

        lookups = list[ImageLookup]()
        off = settings(image_cache_bytes=0)
        async with (
            PictureServer(respond) as server,
            ImageFetcher(off, on_lookup=lookups.append) as fetcher,
        ):
            assert await fetcher.fetch(server.url()) == PICTURE
            assert await asyncio.gather(*(fetcher.fetch(server.url()) for _ in range(20))) == [PICTURE] * 20
        assert len(server.requests) == 2
        assert lookups.count(ImageLookup.MISS) == 2
        assert lookups.count(ImageLookup.SHARED) == 19

    async def test_a_failure_is_told_to_all_who_wait_and_not_kept(self) -> None:
        answers = [response(status="404 Not Found"), response()]

        async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.02)
            writer.write(answers.pop(0))

        async with PictureServer(respond) as server, ImageFetcher(settings()) as fetcher:
            outcomes = await asyncio.gather(
                *(fetcher.fetch(server.url()) for _ in range(3)), return_exceptions=True
            )
            assert [getattr(outcome, "reason", None) for outcome in outcomes] == [ImageReason.NOT_FOUND] * 3
            assert await fetcher.fetch(server.url()) == PICTURE

    async def test_one_who_stops_waiting_takes_nothing_from_the_others(self) -> None:
        answered = asyncio.Event()

        async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
            await answered.wait()
            writer.write(response())

        async with PictureServer(respond) as server, ImageFetcher(settings()) as fetcher:
            first = asyncio.create_task(fetcher.fetch(server.url()))
            second = asyncio.create_task(fetcher.fetch(server.url()))
            while not server.requests:
                await asyncio.sleep(0.001)
            first.cancel()
            answered.set()
            assert await second == PICTURE
            assert first.cancelled()
        assert len(server.requests) == 1

    async def test_a_request_that_nobody_waits_for_is_cancelled(self) -> None:
        async def never(_path: str, _writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

        async with PictureServer(never) as server, ImageFetcher(settings()) as fetcher:
            waiting = [asyncio.create_task(fetcher.fetch(server.url())) for _ in range(2)]
            while not server.requests:
                await asyncio.sleep(0.001)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert server.url() not in fetcher._requests
            assert await _all_other_tasks_end()


async def _all_other_tasks_end() -> bool:
    """Whether nothing of the fetcher runs on; the server's own task may."""
    for _ in range(100):
        if not any("_fetch_and_keep" in repr(task) for task in asyncio.all_tasks()):
            return True
        await asyncio.sleep(0)
    return False


class TestBodies:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (response(status="404 Not Found"), ImageReason.NOT_FOUND),
            (response(status="410 Gone"), ImageReason.NOT_FOUND),
            (response(status="403 Forbidden"), ImageReason.UNAVAILABLE),
            (response(status="500 Internal Server Error"), ImageReason.UNAVAILABLE),
            (response(status="206 Partial Content"), ImageReason.UNAVAILABLE),
            (response(b"", "204 No Content"), ImageReason.UNAVAILABLE),
            (response(b""), ImageReason.EMPTY),
            (response(b"x" * 2_048), ImageReason.TOO_LARGE),
            (
                response(gzip.compress(b"\0" * 1_000_000)[:900], Content_Encoding="gzip"),
                ImageReason.UNSUPPORTED_FORMAT,
            ),
            (b"not HTTP at all\r\n\r\n", ImageReason.UNAVAILABLE),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", ImageReason.UNAVAILABLE),
            (b"HTTP/1.1 200 OK\r\n" + b"X-Header: y\r\n" * 100_000, ImageReason.UNAVAILABLE),
            (b"HTTP/1.1 200 OK\r\nX-Header: " + b"y" * 1_000_000, ImageReason.UNAVAILABLE),
        ],
        ids=lambda value: value[:30].decode() if isinstance(value, bytes) else value,
    )
    async def test_an_answer_that_is_no_picture_has_its_reason(
        self, answer: bytes, reason: ImageReason
    ) -> None:
        async with PictureServer(answer) as server:
            assert (
                await reason_for(server.url("/1.jpg?key=secret"), settings(image_fetch_max_bytes=1_024))
                is reason
            )

    async def test_a_body_shorter_than_announced_is_truncated(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc"
        async with PictureServer(answer) as server:
            assert await reason_for(server.url(), settings()) is ImageReason.TRUNCATED

    async def test_an_endless_body_is_left_at_the_limit(self) -> None:
        async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                await writer.drain()

        async with PictureServer(respond) as server:
            assert (
                await reason_for(server.url(), settings(image_fetch_max_bytes=1_000_000))
                is ImageReason.TOO_LARGE
            )

    async def test_no_content_encoding_is_asked_for(self) -> None:
        async with PictureServer(response()) as server, ImageFetcher(settings()) as fetcher:
            await fetcher.fetch(server.url())
        assert "accept-encoding: identity" in server.requests[0].lower()


@given(damaged(st.sampled_from(ANSWERS)))
@settings_of_hypothesis(max_examples=40)
def test_any_answer_of_a_server_is_bytes_or_an_image_error(answer: bytes) -> None:
    async def fetch() -> None:
        limits = settings(image_fetch_timeout_seconds=0.2, image_fetch_max_bytes=4_096)
        async with (
            PictureServer(answer + b"connection: close") as server,
            ImageFetcher(limits, resolver=FakeNames()) as fetcher,
        ):
            try:
                body = await fetcher.fetch(server.url())
            except ImageError as error:
                reason = error.reason
            else:
                assert 0 < len(body) <= 4_096
                return
            assert isinstance(reason, ImageReason)

    asyncio.run(fetch())


class TestBatches:
    async def test_a_batch_gets_bytes_or_reasons_by_address(self, private_server: PictureServer) -> None:
        async with PictureServer(response()) as server, ImageFetcher(settings()) as fetcher:
            urls = [server.url("/1.jpg"), server.url("/2.jpg"), private_server.url(), "https://[", "x"]
            assert await fetcher.fetch_all([*urls, *urls]) == {
                urls[0]: PICTURE,
                urls[1]: PICTURE,
                urls[2]: ImageReason.BLOCKED,
                urls[3]: ImageReason.INVALID_URL,
                urls[4]: ImageReason.INVALID_URL,
            }
        assert len(server.requests) == 2

    async def test_an_address_that_breaks_our_own_code_costs_the_others_nothing(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def parse(url: str, **more: Any) -> URL:
            return parse_url(url, **more) if "1.jpg" in url else URL(str(1 // 0))

        monkeypatch.setattr("stream_app.web.fetching.parse_url", parse)
        async with PictureServer(response()) as server, ImageFetcher(settings()) as fetcher:
            found = await fetcher.fetch_all([server.url("/1.jpg"), server.url("/2.jpg")])
        assert list(found.values()) == [PICTURE, ImageReason.UNAVAILABLE]
        assert "unexpected fault" in caplog.text

    async def test_the_pictures_of_a_batch_are_bounded_together(self) -> None:
        async def respond(path: str, writer: asyncio.StreamWriter) -> None:
            writer.write(response(path.encode() * 100_000))

        limits = settings(image_fetch_batch_bytes=1_000_000, image_cache_bytes=0)
        async with PictureServer(respond) as server, ImageFetcher(limits) as fetcher:
            for _ in range(2):  # the second batch has a budget of its own
                found = await fetcher.fetch_all(server.url(f"/{number}") for number in range(8))
                kept = [body for body in found.values() if isinstance(body, bytes)]
                assert len(kept) == 5
                assert set(map(len, kept)) == {200_000}
                assert set(found.values()) - set(kept) == {ImageReason.TOO_LARGE}

    async def test_what_failed_counts_no_more(self) -> None:
        async def respond(path: str, writer: asyncio.StreamWriter) -> None:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\nConnection: close\r\n\r\n"
            writer.write(head + b"x" * 2_000 if path == "/cut" else response(b"x" * 2_000))
            if path == "/cut":
                writer.close()

        async with PictureServer(respond) as server, ImageFetcher(settings()) as fetcher:
            budget = ByteBudget(2_000)
            with pytest.raises(ImageError):
                await fetcher.fetch(server.url("/cut"), budget)
            assert budget.num_bytes == 0
            assert len(await fetcher.fetch(server.url("/whole"), budget)) == 2_000


class TestTime:
    @pytest.mark.parametrize(
        "head", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"]
    )
    async def test_a_server_that_drips_runs_out_of_time(self, head: bytes) -> None:
        async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
            writer.write(head)
            for _ in range(1_000):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with PictureServer(respond) as server:
            assert (
                await reason_for(server.url(), settings(image_fetch_timeout_seconds=0.1))
                is ImageReason.TIMEOUT
            )

    async def test_redirects_share_one_deadline(self) -> None:
        async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.06)
            writer.write(redirect("/again"))

        async with PictureServer(respond) as server:
            limits = settings(image_fetch_timeout_seconds=0.1, image_fetch_max_redirects=10)
            assert await reason_for(server.url(), limits) is ImageReason.TIMEOUT

    async def test_a_slow_server_does_not_hold_up_another(self) -> None:
        async def never(_path: str, _writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

        limits = settings(image_fetch_connections=4, image_fetch_connections_per_host=2)
        async with (
            PictureServer(never) as slow,
            PictureServer(response()) as quick,
            ImageFetcher(limits) as fetcher,
        ):
            stuck = [asyncio.create_task(fetcher.fetch(slow.url(f"/{n}"))) for n in range(100)]
            await asyncio.sleep(0.05)
            assert await asyncio.wait_for(fetcher.fetch(quick.url()), 2) == PICTURE
            for task in stuck:
                task.cancel()
            outcomes = await asyncio.gather(*stuck, return_exceptions=True)
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)

    async def test_a_name_that_is_not_answered_costs_no_more_than_the_deadline(self) -> None:
        class SlowNames(FakeNames):
            async def resolve(self, host: str, *args: Any, **more: Any) -> list[ResolveResult]:
                if host.startswith("slow"):
                    await asyncio.sleep(60)
                return await super().resolve(host, *args, **more)

        limits = settings(image_fetch_timeout_seconds=0.2)
        async with (
            PictureServer(response()) as server,
            ImageFetcher(limits, resolver=SlowNames(quick_example=[[PUBLIC]])) as fetcher,
        ):
            urls = [server.url(host=f"slow{number}.example") for number in range(20)]
            urls.append(server.url(host="quick.example"))
            outcomes = await asyncio.wait_for(
                asyncio.gather(*map(fetcher.fetch, urls), return_exceptions=True), 2
            )
        assert outcomes.pop() == PICTURE
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, ImageError)} == {
            ImageReason.TIMEOUT
        }

    async def test_a_server_that_refuses_connections_is_left_alone(self) -> None:
        async with PictureServer(response()) as server:
            url = server.url(host="gone.example")
        names = FakeNames(gone_example=[[PUBLIC]])
        now = [0.0]
        async with ImageFetcher(settings(), resolver=names, clock=lambda: now[0]) as fetcher:
            for _ in range(HostPauses.FAILURES_BEFORE_PAUSE):
                with pytest.raises(ImageError, match="cannot be reached"):
                    await fetcher.fetch(url)
            with pytest.raises(ImageError, match="left alone"):
                await fetcher.fetch(url)
            now[0] += settings().image_host_pause_seconds
            async with PictureServer(response(), PUBLIC, server.port):
                assert await fetcher.fetch(url) == PICTURE

    async def test_waiting_for_our_own_connections_is_no_fault_of_the_server(self) -> None:
        async def never(_path: str, _writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

        limits = settings(image_fetch_timeout_seconds=0.1, image_fetch_connections=1)
        async with (
            PictureServer(never) as slow,
            PictureServer(response()) as quick,
            ImageFetcher(limits) as fetcher,
        ):
            urls = [slow.url(), *(quick.url(f"/{n}.jpg") for n in range(HostPauses.FAILURES_BEFORE_PAUSE))]
            outcomes = await asyncio.gather(*map(fetcher.fetch, urls), return_exceptions=True)
            assert {outcome.reason for outcome in outcomes if isinstance(outcome, ImageError)} == {
                ImageReason.TIMEOUT
            }
            assert await fetcher.fetch(quick.url()) == PICTURE


@pytest.mark.parametrize("reason", FetchReason)
def test_a_picture_has_every_reason_that_a_fetch_has(reason: FetchReason) -> None:
    assert ImageReason(reason).value == reason.value


async def test_a_name_that_does_not_exist_is_unavailable() -> None:
    assert await reason_for("https://nowhere.invalid/1.jpg", settings()) is ImageReason.UNAVAILABLE


async def test_https_to_a_server_that_speaks_plain_http_is_unavailable() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response())
        writer.close()

    async with await asyncio.start_server(greet, PUBLIC, 0) as server:
        url = f"https://{PUBLIC}:{server.sockets[0].getsockname()[1]}/1.jpg"
        assert await reason_for(url, settings()) is ImageReason.UNAVAILABLE


@given(st.text() | st.text().map("https://{}".format) | st.text().map("http://a/{}".format))
def test_any_text_ends_in_an_image_error(url: str) -> None:
    async def fetch() -> None:
        async with ImageFetcher(settings(), resolver=FakeNames()) as fetcher:
            with pytest.raises(ImageError):
                await fetcher.fetch(url)

    asyncio.run(fetch())


async def test_fetching_before_the_start_is_an_error_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="start"):
        await ImageFetcher(settings()).fetch("https://example.com/1.jpg")


@pytest.mark.parametrize(
    "host",
    ["", "*", "*.", "https://shop.example", "shop.example:8080", "shop.example/x", "a@b.example", "a*.b"],
)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        ImageFetchSettings(image_allowed_hosts=(host,))


@pytest.mark.parametrize("network", ["10.0.0.0/33", "10.0.0.1/8", "nonsense"])
def test_a_network_that_is_none_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match="image_allowed_networks"):
        ImageFetchSettings.model_validate({"image_allowed_networks": [network]})
