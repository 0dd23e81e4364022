"""Credentials become aiokafka's arguments, and Faust's; files that cannot be used are told."""

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from faust.auth import OAuthCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from stream_app.app import build_app
from stream_app.broker_settings import BrokerSettings
from stream_app.brokers import connection
from stream_app.errors import SettingsError
from stream_app.fetching import faust_credentials
from stream_app.oauth_tokens import ClientCredentials
from stream_app.settings import load_settings
from tests.certificates import KEY_PASSWORD, Certificates

LOGIN = {"broker_sasl_mechanism": "SCRAM-SHA-512", "broker_username": "shelver", "broker_password": "s3cret"}
OAUTH = {
    "broker_sasl_mechanism": "OAUTHBEARER",
    "broker_oauth_token_url": "https://login.example.com/token",
    "broker_oauth_client_id": "shelver",
    "broker_oauth_client_secret": "s3cret",
}
WAYS: list[dict[str, str]] = [
    {},
    {"broker_security_protocol": "SSL"},
    {"broker_security_protocol": "SASL_PLAINTEXT", **LOGIN},
    {"broker_security_protocol": "SASL_SSL", **LOGIN},
    {"broker_security_protocol": "SASL_SSL", **OAUTH},
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def arguments(**given: Any) -> dict[str, Any]:
    return connection(BrokerSettings.model_validate(given))


def test_without_security_nothing_but_the_servers_is_given() -> None:
    assert arguments(broker="kafka://a:1;b:2") == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
    }


def test_a_login_over_tls() -> None:
    given = arguments(broker_security_protocol="SASL_SSL", **LOGIN)
    context = given.pop("ssl_context")
    assert given == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "shelver",
        "sasl_plain_password": "s3cret",
    }
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("way", WAYS)
def test_fausts_consumer_and_producer_get_the_very_same_arguments(way: dict[str, str]) -> None:
    given = arguments(**way)
    del given["bootstrap_servers"]
    told = credentials_to_aiokafka_auth(faust_credentials(given))
    assert {name: value for name, value in told.items() if value is not None} == given


async def test_the_app_and_its_service_share_them() -> None:
    chosen = load_settings({}, broker="a;kafka://[::1]:2", broker_security_protocol="SASL_SSL", **OAUTH)
    app = build_app(chosen)
    brokers = app.before_start.__self__._brokers  # type: ignore[union-attr]
    credentials = app.conf.broker_credentials
    assert isinstance(credentials, OAuthCredentials)
    assert credentials.oauth_cb is brokers["sasl_oauth_token_provider"]
    assert credentials.ssl_context is brokers["ssl_context"]
    assert [(url.host, url.port) for url in app.transport.url] == [("a", 9092), ("::1", 2)]
    assert isinstance(brokers["sasl_oauth_token_provider"], ClientCredentials)


@pytest.mark.parametrize("way", WAYS)
def test_arguments_can_be_printed_without_a_secret(way: dict[str, str]) -> None:
    given = arguments(**way)
    assert "s3cret" not in f"{given} {given!r} {faust_credentials(given)!r} {vars(given)}"
    assert "127.0.0.1:9092" in repr(given)


def test_a_client_certificate_is_taken_from_its_files(certificates: Certificates) -> None:
    for key in (
        {"broker_key_file": str(certificates.client_key)},
        {"broker_key_file": str(certificates.locked_key), "broker_key_password": KEY_PASSWORD},
    ):
        given = arguments(
            broker_security_protocol="SSL",
            broker_ca_file=str(certificates.authority),
            broker_certificate_file=str(certificates.client),
            **key,
        )
        assert len(given["ssl_context"].get_ca_certs()) == 1
    assert arguments(broker_security_protocol="SSL", broker_certificate_file=str(certificates.foreign_client))


def test_a_file_that_cannot_be_used_is_told_with_its_setting(
    certificates: Certificates, tmp_path: Path
) -> None:
    empty, absent = tmp_path / "empty", tmp_path / "absent"
    empty.write_bytes(b"")
    client = {"broker_certificate_file": str(certificates.client)}
    faults: list[tuple[dict[str, str], str]] = [
        ({"broker_ca_file": str(absent)}, "BROKER_CA_FILE: .*absent cannot be read .No such file"),
        ({"broker_ca_file": str(tmp_path)}, "BROKER_CA_FILE: .* cannot be read .Is a directory"),
        ({"broker_ca_file": str(empty)}, "BROKER_CA_FILE: .*empty holds no certificate"),
        ({"broker_ca_file": str(certificates.client_key)}, "holds no certificate"),
        ({"broker_ca_file": "a\0b"}, "BROKER_CA_FILE: .* cannot be read"),
        ({"broker_certificate_file": str(absent)}, "BROKER_CERTIFICATE_FILE: .*absent cannot be read"),
        ({"broker_certificate_file": str(empty)}, "BROKER_CERTIFICATE_FILE: .* cannot be used"),
        (client, "cannot be used"),
        (client | {"broker_key_file": str(absent)}, "BROKER_KEY_FILE: .*absent cannot be read"),
        (client | {"broker_key_file": str(certificates.server)}, "KEY_VALUES_MISMATCH"),
        (client | {"broker_key_file": str(certificates.locked_key)}, "BROKER_KEY_PASSWORD has to open it"),
        (
            client | {"broker_key_file": str(certificates.locked_key), "broker_key_password": "s3cret"},
            "BROKER_KEY_PASSWORD has to open it",
        ),
    ]
    for given, message in faults:
        with pytest.raises(SettingsError, match=message) as caught:
            arguments(broker_security_protocol="SSL", **given)
        assert "s3cret" not in str(caught.value)


def test_a_secret_may_stand_in_a_file_whose_last_line_feed_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    login = {name: value for name, value in LOGIN.items() if name != "broker_password"}
    login |= {"broker_security_protocol": "SASL_PLAINTEXT", "broker_password_file": str(file)}
    for content, secret in ((b"s3cret\n", "s3cret"), (b" two words \r\n", " two words "), (b"\xc3\xa9", "é")):
        file.write_bytes(content)
        assert arguments(**login)["sasl_plain_password"] == secret
    for content, message in (
        (b"\n", "empty"),
        (b"x" * 70_000, "empty or larger than 65536 bytes"),
        (b"s3cret\xff", "not UTF-8"),
    ):
        file.write_bytes(content)
        with pytest.raises(
            SettingsError, match=f"SHELVER_BROKER_PASSWORD_FILE: .*secret is {message}"
        ) as caught:
            arguments(**login)
        assert "s3cret" not in str(caught.value)
    file.unlink()
    with pytest.raises(SettingsError, match=r"SHELVER_BROKER_PASSWORD_FILE: .*secret cannot be read"):
        arguments(**login)


def test_logins_stay_out_of_what_aiokafka_logs(caplog: pytest.LogCaptureFixture) -> None:
    from aiokafka.protocol.admin import SaslAuthenticateRequest
    from aiokafka.protocol.metadata import MetadataRequest

    arguments(broker_security_protocol="SASL_PLAINTEXT", **LOGIN)
    logger = logging.getLogger("aiokafka.conn")
    login = SaslAuthenticateRequest(b"\0shelver\0s3cret").prepare({36: (0, 1)})
    other = MetadataRequest(["a-topic"]).prepare({3: (0, 5)})
    with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
        for request in (login, other):
            logger.debug("Request to %s:%d %d: %s", "host", 1, 2, request)
    assert "SaslAuthenticateRequest_v1(...)" in caplog.text
    assert "a-topic" in caplog.text
    assert "s3cret" not in caplog.text
