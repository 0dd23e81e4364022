"""What an error of a connection tells the operator."""

import ssl

import pytest
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from stream_app.broker_access import diagnose, explain
from stream_app.oauth_tokens import TokenError

SCRAM = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_plain_username": "shelver",
    "sasl_plain_password": "s3cret",
}
OAUTH = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
PLAINTEXT = {"security_protocol": "PLAINTEXT"}


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "s3cret")
    error.reason = reason
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


def caused_by(cause: BaseException) -> KafkaConnectionError:
    error = KafkaConnectionError("closed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "arguments", "text"),
    [
        (SaslAuthenticationFailed("s3cret"), SCRAM, "host:1 refuses user 'shelver' (SCRAM-SHA-512, auth"),
        (SaslAuthenticationFailed("s3cret"), OAUTH, "host:1 refuses the token (OAUTHBEARER, auth"),
        (UnsupportedSaslMechanismError(), SCRAM, "host:1 does not offer SCRAM-SHA-512; check"),
        (IllegalSaslStateError(), SCRAM, "host:1 offers no login at this port"),
        (ValueError("Server sent wrong signature!"), SCRAM, "does not prove that it knows user 'shelver'"),
        (AssertionError(), SCRAM, "does not prove that it knows"),
        (TokenError("refused", is_final=True), OAUTH, "no token for OAUTHBEARER: refused"),
        (untrusted(), SCRAM, "the certificate of host:1 is not accepted (certificate has expired)"),
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), SCRAM, "does not accept the client's certificate"),
        (caused_by(tls("TLSV1_ALERT_UNKNOWN_CA")), SCRAM, "does not accept the client's certificate"),
        (tls("WRONG_VERSION_NUMBER"), SCRAM, "host:1 does not speak TLS"),
    ],
)
def test_what_no_waiting_can_mend_is_final(
    error: BaseException, arguments: dict[str, str], text: str
) -> None:
    found = explain(error, "host:1", arguments)
    assert found is not None
    assert found.is_final
    assert text in found.text
    assert "s3cret" not in found.text


@pytest.mark.parametrize(
    ("error", "arguments", "text"),
    [
        (TokenError("away"), OAUTH, "no token for OAUTHBEARER: away"),
        (
            KafkaConnectionError("closed"),
            PLAINTEXT,
            "closes the connection; SHELVER_BROKER_SECURITY_PROTOCOL",
        ),
        (
            ConnectionResetError(),
            SCRAM,
            "closes the connection; SHELVER_BROKER_SECURITY_PROTOCOL is SASL_SSL",
        ),
    ],
)
def test_what_may_pass_is_a_hint(error: BaseException, arguments: dict[str, str], text: str) -> None:
    found = explain(error, "host:1", arguments)
    assert found is not None
    assert not found.is_final
    assert text in found.text


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OSError(), ValueError()])
def test_a_server_that_is_down_tells_nothing(error: BaseException) -> None:
    assert explain(error, "host:1", PLAINTEXT) is None


async def test_nobody_at_the_address_is_no_refusal() -> None:
    arguments = {"bootstrap_servers": ["127.0.0.1:9", "[::1]:9"], **PLAINTEXT}
    assert await diagnose(arguments) is None
