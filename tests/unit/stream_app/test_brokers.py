"""Broker addresses as users give them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.brokers import connection
from stream_app.errors import SettingsError


@pytest.mark.parametrize(
    ("address", "servers"),
    [
        ("kafka://127.0.0.1:9093", ["127.0.0.1:9093"]),
        ("kafka://kafka", ["kafka:9092"]),
        ("kafka://a:1;kafka://b:2", ["a:1", "b:2"]),
        ("kafka://a:1;b:2;", ["a:1", "b:2"]),
        ("aiokafka://a:1/", ["a:1"]),
        ("a.example.com", ["a.example.com:9092"]),
        ("kafka://[::1]:9093", ["[::1]:9093"]),
    ],
)
def test_an_address_gives_its_servers(address: str, servers: list[str]) -> None:
    assert connection(address) == {"bootstrap_servers": servers}


@pytest.mark.parametrize(
    "address",
    [
        "",
        ";",
        "http://a:1",
        "kafka://",
        "kafka://a:port",
        "kafka://a:99999",
        "kafka://a:1/topic",
        "kafka://a?b=c",
    ],
)
def test_anything_else_is_refused_with_the_form_it_should_have(address: str) -> None:
    with pytest.raises(SettingsError, match=r"kafka://host:port"):
        connection(address)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        connection("kafka://user:secret@host:1")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_gives_servers_or_our_error(address: str) -> None:
    with contextlib.suppress(SettingsError):
        servers = connection(address)["bootstrap_servers"]
        assert all(
            server.rpartition(":")[0] and int(server.rpartition(":")[2]) < 65_536 for server in servers
        )
