"""Tokens are asked for once, kept while they are good, and never shown."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app import oauth_tokens
from stream_app.oauth_tokens import ClientCredentials, TokenError, read_token
from tests.token_endpoint import CLIENT_ID, CLIENT_SECRET, TokenEndpoint, token_endpoint


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint() as server:
        yield server


def provider(url: str, clock: Clock, secret: str = CLIENT_SECRET) -> ClientCredentials:
    return ClientCredentials(url, CLIENT_ID, secret, "kafka", clock=clock)


async def test_a_token_is_kept_for_four_fifths_of_its_life(endpoint: TokenEndpoint) -> None:
    clock = Clock()
    tokens = provider(endpoint.url, clock)
    first = await tokens.token()
    clock.now += 0.79 * endpoint.life_seconds
    assert await tokens.token() == first
    assert endpoint.num_tokens == 1
    clock.now += 0.02 * endpoint.life_seconds
    assert await tokens.token() != first
    assert endpoint.num_tokens == 2


async def test_connections_that_are_made_at_once_share_one_token(endpoint: TokenEndpoint) -> None:
    tokens = provider(endpoint.url, Clock())
    assert len(set(await asyncio.gather(*(tokens.token() for _ in range(20))))) == 1
    assert endpoint.num_tokens == 1


async def test_it_works_from_the_event_loop_of_another_thread_too(endpoint: TokenEndpoint) -> None:
    tokens = provider(endpoint.url, Clock())
    first = await tokens.token()
    assert await asyncio.to_thread(lambda: asyncio.run(tokens.token())) == first
    assert endpoint.num_tokens == 1


async def test_a_refusal_is_final_told_without_the_secret_and_not_repeated_at_once(
    endpoint: TokenEndpoint,
) -> None:
    clock = Clock()
    tokens = provider(endpoint.url, clock, "wr0ng-s3cret")
    for _ in range(3):
        with pytest.raises(
            TokenError, match=r"^the token endpoint refuses with HTTP 401 invalid_client$"
        ) as told:
            await tokens.token()
        assert told.value.is_final
    assert endpoint.num_refused == 1
    clock.now += oauth_tokens.RETRY_SECONDS
    with pytest.raises(TokenError):
        await tokens.token()
    assert endpoint.num_refused == 2


async def test_an_endpoint_that_is_away_is_worth_waiting_for() -> None:
    clock = Clock()
    tokens = provider("http://127.0.0.1:9/token?s3cret", clock)
    with pytest.raises(TokenError, match="cannot be reached") as told:
        await tokens.token()
    assert not told.value.is_final
    assert "s3cret" not in f"{told.value} {told.value!r}"


async def test_while_no_new_token_can_be_had_the_old_one_serves_to_the_end_of_its_life() -> None:
    clock = Clock()
    with token_endpoint() as endpoint:
        tokens = provider(endpoint.url, clock)
        first = await tokens.token()
    clock.now += 0.9 * endpoint.life_seconds
    assert await tokens.token() == first
    clock.now += 0.1 * endpoint.life_seconds
    with pytest.raises(TokenError, match="cannot be reached"):
        await tokens.token()


class Answers(ThreadingHTTPServer):
    """Answers everything with the same bytes."""

    daemon_threads = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), AnswerAlways)
        self.status, self.body, self.paths = status, body, list[str]()


class AnswerAlways(BaseHTTPRequestHandler):
    server: Answers

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (302, b"", "refuses with HTTP 302"),
        (200, b"x" * 300_000, "more than 262144 bytes"),
        (500, b'{"error": "invalid_client"}', "HTTP 500 invalid_client"),
    ],
)
async def test_redirects_floods_and_breakdowns_give_no_token(status: int, body: bytes, message: str) -> None:
    with Answers(status, body) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            tokens = provider(f"http://127.0.0.1:{server.server_address[1]}/token", Clock())
            with pytest.raises(TokenError, match=message) as told:
                await tokens.token()
        finally:
            server.shutdown()
            thread.join()
        assert not told.value.is_final
        assert server.paths == ["/token"]


async def test_proxies_of_the_environment_are_not_used(
    endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await provider(endpoint.url, Clock()).token()


@pytest.mark.parametrize(
    ("told", "life"),
    [(100, 100), ("100", 100), (None, 60), (-5, 60), ("soon", 60), ([], 60), (1e400, 60), (10**400, 60)],
)
def test_how_long_a_token_is_good_for(told: object, life: float) -> None:
    body = json.dumps({"access_token": "a.b-c_d~e+f/g==", "token_type": "BEARER", "expires_in": told})
    token = read_token(200, body.encode())
    assert (token.value, token.life_seconds) == ("a.b-c_d~e+f/g==", life)
    assert token.value not in repr(token)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"access_token": 5}',
        b'{"access_token": ""}',
        b'{"access_token": "a\\u0001auth=b"}',
        b'{"access_token": "a b"}',
        b'{"access_token": "a", "token_type": "mac"}',
    ],
)
def test_an_answer_without_a_bearer_token_is_refused(body: bytes) -> None:
    with pytest.raises(TokenError, match="answers no bearer token"):
        read_token(200, body)


def test_what_an_answer_says_beyond_the_codes_of_the_standard_is_not_repeated() -> None:
    body = json.dumps({"error": "s3cret", "error_description": "s3cret is wrong"}).encode()
    with pytest.raises(TokenError, match=r"^the token endpoint refuses with HTTP 400$") as told:
        read_token(400, body)
    assert told.value.is_final


@given(st.integers(100, 599), st.binary(max_size=60))
def test_any_answer_gives_a_token_or_our_error(status: int, body: bytes) -> None:
    with pytest.raises(TokenError):
        read_token(status, body)
