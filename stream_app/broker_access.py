"""Why brokers cannot be had: aiokafka logs the reason and raises an error without it."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream_app.broker_settings import variable
from stream_app.oauth_tokens import TokenError

PROBE_SECONDS = 5.0
MAX_SERVERS = 10
_REFUSED_CERTIFICATE = ("certificate_required", "bad_certificate", "unknown_ca", "certificate_unknown")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with a connection.

    Attributes:
        text: What was refused and what to check, without a secret.
        is_final: Whether waiting cannot help.
    """

    text: str
    is_final: bool


class UnreachableError(KafkaConnectionError):  # type: ignore[misc]
    """The brokers cannot be had now; the text says why, as far as it is known."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


async def diagnose(arguments: Mapping[str, Any]) -> Diagnosis | None:
    """Try each server, and those that they name, once; what stands in the way, or None where it is unknown.

    Args:
        arguments: of `stream_app.brokers.connection`.
    """
    asked = [(host, port) for host, port, _ in collect_hosts(arguments["bootstrap_servers"], randomize=False)]
    found, named = await _try_all(asked, arguments)
    if found is None and named:
        found, _ = await _try_all(sorted(named - set(asked)), arguments)
    return found


async def _try_all(
    servers: list[tuple[str, int]], arguments: Mapping[str, Any]
) -> tuple[Diagnosis | None, set[tuple[str, int]]]:
    answers = await asyncio.gather(*(_try(*server, arguments) for server in servers[:MAX_SERVERS]))
    found = sorted((each for each, _ in answers if each is not None), key=lambda each: not each.is_final)
    named = {server for _, servers in answers for server in servers}
    return (found[0] if found else None), named


async def _try(
    host: str, port: int, arguments: Mapping[str, Any]
) -> tuple[Diagnosis | None, list[tuple[str, int]]]:
    """What stands in the way of one server, and the brokers that it names."""
    rest = {name: value for name, value in arguments.items() if name != "bootstrap_servers"}
    connection = None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            connection = await create_conn(host, port, **rest)
            metadata = await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError, ValueError, AssertionError) as error:
        return explain(error, f"{host}:{port}", arguments), []
    finally:
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close()
    return None, [(broker[1], broker[2]) for broker in metadata.brokers]


def explain(error: BaseException, server: str, arguments: Mapping[str, Any]) -> Diagnosis | None:
    """What an error of a connection says; None for one that tells nothing, such as a server that is down.

    Args:
        error: of aiokafka, the socket or TLS.
        server: ``host:port``.
        arguments: the connection was made with.
    """
    cause: BaseException | None = error
    while cause is not None:
        told = _tls(cause, server) or _login(cause, server, arguments)
        if told is not None:
            return told
        cause = cause.__cause__
    if isinstance(error, KafkaError | ConnectionResetError | ssl.SSLEOFError):
        return Diagnosis(
            f"{server} closes the connection; {variable('broker_security_protocol')} is"
            f" {arguments.get('security_protocol', 'PLAINTEXT')}: is that what it speaks?",
            is_final=False,
        )
    return None


def _tls(error: BaseException, server: str) -> Diagnosis | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Diagnosis(
            f"the certificate of {server} is not accepted ({error.verify_message}); check"
            f" {variable('broker_ca_file')} and the host name in {variable('broker')}",
            is_final=True,
        )
    if not isinstance(error, ssl.SSLError):
        return None
    reason = (error.reason or "").lower()
    if reason.endswith(_REFUSED_CERTIFICATE):
        return Diagnosis(
            f"{server} does not accept the client's certificate ({reason}); check"
            f" {variable('broker_certificate_file')} and {variable('broker_key_file')}",
            is_final=True,
        )
    if reason in ("wrong_version_number", "record_layer_failure", "packet_length_too_long"):
        return Diagnosis(
            f"{server} does not speak TLS ({reason}); check the port and"
            f" {variable('broker_security_protocol')}",
            is_final=True,
        )
    return None


def _login(error: BaseException, server: str, arguments: Mapping[str, Any]) -> Diagnosis | None:
    mechanism = arguments.get("sasl_mechanism", "")
    user = arguments.get("sasl_plain_username")
    who = f"user {user!r}" if user else "the token"
    what_to_check = (
        f"{variable('broker_username')}, {variable('broker_password')}"
        if user
        else "the client of the token and its scope"
    )
    match error:
        case TokenError():
            text = f"no token for {mechanism}: {error.text}; check the SHELVER_BROKER_OAUTH_ settings"
            return Diagnosis(text, error.is_final)
        case SaslAuthenticationFailed() | AuthenticationFailedError():
            text = f"{server} refuses {who} ({mechanism}, authentication failed); check {what_to_check}"
            return Diagnosis(text, is_final=True)
        case UnsupportedSaslMechanismError():
            text = f"{server} does not offer {mechanism}; check {variable('broker_sasl_mechanism')}"
            return Diagnosis(text, is_final=True)
        case IllegalSaslStateError():
            text = (
                f"{server} offers no login at this port; check it and {variable('broker_security_protocol')}"
            )
            return Diagnosis(text, is_final=True)
        case ValueError() | AssertionError() if mechanism and not isinstance(error, OSError):
            text = f"{server} does not prove that it knows {who} ({mechanism}); check {variable('broker')}"
            return Diagnosis(text, is_final=True)
    return None
