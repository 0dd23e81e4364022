"""Broker addresses as users give them, and settings that contradict each other."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.broker_settings import BrokerSettings, servers
from stream_app.errors import SettingsError
from stream_app.settings import load_settings

SCRAM = {
    "broker_security_protocol": "SASL_SSL",
    "broker_sasl_mechanism": "SCRAM-SHA-512",
    "broker_username": "shelver",
    "broker_password": "s3cret",
}
OAUTH = {
    "broker_security_protocol": "SASL_SSL",
    "broker_sasl_mechanism": "OAUTHBEARER",
    "broker_oauth_token_url": "https://login.example.com/token",
    "broker_oauth_client_id": "shelver",
    "broker_oauth_client_secret": "s3cret",
}
TLS = {"broker_security_protocol": "SSL"}


@pytest.mark.parametrize(
    ("address", "found"),
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
def test_an_address_gives_its_servers(address: str, found: list[str]) -> None:
    assert servers(address) == found
    assert BrokerSettings(broker=address).broker == address


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
        load_settings({}, broker=address)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="a user goes to SHELVER_BROKER_USERNAME") as caught:
        load_settings({}, broker="kafka://user:s3cret@host:1")
    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_gives_servers_or_an_error(address: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(
            server.rpartition(":")[0] and int(server.rpartition(":")[2]) < 65_536
            for server in servers(address)
        )


@pytest.mark.parametrize("given_settings", [{}, TLS, SCRAM, OAUTH])
def test_each_way_in_can_be_set(given_settings: dict[str, str]) -> None:
    chosen = load_settings({}, **given_settings)
    assert chosen.broker_security_protocol == given_settings.get("broker_security_protocol", "PLAINTEXT")


def test_kafkas_words_may_be_written_small() -> None:
    chosen = load_settings(
        {},
        **SCRAM | {"broker_security_protocol": "sasl_ssl", "broker_sasl_mechanism": "scram-sha-256"},
    )
    assert (chosen.broker_security_protocol, chosen.broker_sasl_mechanism) == ("SASL_SSL", "SCRAM-SHA-256")


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (SCRAM, {"broker_sasl_mechanism": None}, "SASL_SSL needs SHELVER_BROKER_SASL_MECHANISM"),
        (SCRAM, {"broker_username": None}, "SCRAM-SHA-512 needs SHELVER_BROKER_USERNAME"),
        (SCRAM, {"broker_password": None}, "BROKER_PASSWORD or SHELVER_BROKER_PASSWORD_FILE"),
        (SCRAM, {"broker_password_file": "/run/secret"}, "are both set"),
        (SCRAM, {"broker_security_protocol": None}, "SASL_MECHANISM does nothing with .*=PLAINTEXT"),
        (SCRAM, {"broker_oauth_scope": "kafka"}, "OAUTH_SCOPE does nothing with .*=SCRAM-SHA-512"),
        (SCRAM, {"broker_key_file": "k.pem"}, "KEY_FILE does nothing with no certificate"),
        ({}, {"broker_password": "s3cret"}, "BROKER_PASSWORD does nothing with .*=PLAINTEXT"),
        ({}, {"broker_ca_file": "ca.pem"}, "BROKER_CA_FILE does nothing with .*=PLAINTEXT"),
        (TLS, {"broker_username": "shelver"}, "BROKER_USERNAME does nothing with .*=SSL"),
        (TLS, {"broker_key_password": "s3cret"}, "KEY_PASSWORD does nothing with no certificate"),
        (OAUTH, {"broker_password": "s3cret"}, "BROKER_PASSWORD does nothing with .*=OAUTHBEARER"),
        (OAUTH, {"broker_oauth_client_id": None}, "OAUTHBEARER needs SHELVER_BROKER_OAUTH_CLIENT_ID"),
        (OAUTH, {"broker_oauth_client_secret": None}, "OAUTH_CLIENT_SECRET_FILE"),
        (OAUTH, {"broker_oauth_token_url": "http://login.example.com/token"}, "has to be https://"),
        (OAUTH, {"broker_oauth_token_url": "https://u:s3cret@login.example.com/"}, "is no address like"),
        (OAUTH, {"broker_oauth_token_url": "login.example.com"}, "is no address like"),
        (OAUTH, {"broker_oauth_token_url": "https://login.example.com:s3cret/"}, "is no address like"),
        (OAUTH, {"broker_oauth_token_url": "https://[s3cret"}, "is no address like"),
        (SCRAM, {"broker_security_protocol": "TLS"}, "SHELVER_BROKER_SECURITY_PROTOCOL: .*'TLS'"),
        (SCRAM, {"broker_sasl_mechanism": "GSSAPI"}, "SHELVER_BROKER_SASL_MECHANISM: .*'GSSAPI'"),
    ],
)
def test_a_contradiction_is_told_by_the_names_of_its_variables_without_a_secret(
    base: dict[str, str], changes: dict[str, str | None], message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings({}, **base | changes)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "127.1.2.3"])
def test_tokens_may_come_in_the_clear_from_this_machine_itself(host: str) -> None:
    load_settings({}, **OAUTH | {"broker_oauth_token_url": f"http://{host}:8080/token"})


def test_secrets_are_masked_wherever_settings_are_printed() -> None:
    for chosen in (load_settings({}, **SCRAM), load_settings({}, **OAUTH)):
        assert "s3cret" not in f"{chosen!r} {chosen} {chosen.model_dump()} {chosen.model_dump_json()}"


def test_a_contradiction_that_nobody_catches_shows_no_input() -> None:
    with pytest.raises(ValueError, match="both set") as caught:
        BrokerSettings.model_validate(SCRAM | {"broker_password_file": "/run/secret"})
    assert "s3cret" not in f"{caught.value} {caught.value!r}"
