"""What goes wrong between console and gateway is one error that says what to do."""

import socket

import httpx
import pytest
from pydantic import ValidationError

from stream_app.broker_config import free_port
from stream_app.console.client import GatewayClient, GatewayError, _refused, http_client
from stream_app.console.settings import ConsoleSettings
from stream_app.edge.problems import ProblemError, problem_response


def answered(status: int, kind: str, detail: str, **headers: str) -> httpx.Response:
    response = problem_response(ProblemError(status, kind, detail, headers=headers), "r-1")
    return httpx.Response(response.status_code, headers=dict(response.headers), content=bytes(response.body))


def test_nobody_listens() -> None:
    with (
        http_client(f"http://127.0.0.1:{free_port()}", 1.0) as http,
        pytest.raises(GatewayError, match="cannot be reached") as error,
    ):
        GatewayClient(http).models()
    assert error.value.kind == "unreachable"


def test_nobody_answers() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        http_client(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.1) as http,
        pytest.raises(GatewayError, match="in time") as error,
    ):
        GatewayClient(http).product("e-1", wait_seconds=0.1)
    assert error.value.kind == "unreachable"


def test_a_problem_keeps_its_kind_and_what_it_says() -> None:
    error = _refused(answered(429, "too-many-requests", "wait a little", **{"Retry-After": "3"}))
    assert (error.kind, str(error), error.retry_seconds) == ("too-many-requests", "wait a little", 3.0)
    assert error.problem is not None
    assert error.problem.request_id == "r-1"


@pytest.mark.parametrize(
    ("status", "kind"), [(413, "too-large"), (502, "unreachable"), (500, "unreadable"), (404, "unreadable")]
)
def test_what_a_proxy_answers_is_told_by_its_status(status: int, kind: str) -> None:
    error = _refused(httpx.Response(status, text="<html>nginx</html>"))
    assert error.kind == kind
    assert str(status) in str(error)


@pytest.mark.parametrize("told", ["soon", "-3", "inf", "nan", ""])
def test_a_strange_wait_is_bounded(told: str) -> None:
    error = _refused(answered(503, "unavailable", "come again", **{"Retry-After": told}))
    assert error.retry_seconds is None or 0 <= error.retry_seconds <= 60


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://gateway", "http://", "http://user:pass@gateway", ""]
)
def test_only_addresses_of_gateways_are_taken(url: str) -> None:
    with pytest.raises(ValidationError):
        ConsoleSettings(console_gateway_url=url)


def test_a_slash_at_the_end_of_the_address_is_left_out() -> None:
    settings = ConsoleSettings(console_gateway_url="https://gateway.example/shelver/")
    assert settings.console_gateway_url == "https://gateway.example/shelver"
