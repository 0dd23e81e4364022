"""Where the brokers are and how to log in to them: declared once, for the worker and for every command.

Nothing is read or connected here; settings that contradict each other cannot be made.
"""

import ipaddress
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

__all__ = ["BrokerSettings", "SaslMechanism", "SecurityProtocol", "servers", "variable"]

DEFAULT_PORT = 9092
_ADDRESS = re.compile(
    r"(?:(?:aio)?kafka://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/@?#\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_LOGIN = ("broker_username", "broker_password", "broker_password_file")
_OAUTH = (
    "broker_oauth_token_url",
    "broker_oauth_client_id",
    "broker_oauth_client_secret",
    "broker_oauth_client_secret_file",
    "broker_oauth_scope",
)
_KEY = ("broker_key_file", "broker_key_password", "broker_key_password_file")
_TLS = ("broker_ca_file", "broker_certificate_file", *_KEY)
_TWO_WAYS = ("broker_password", "broker_oauth_client_secret", "broker_key_password")


class SecurityProtocol(StrEnum):
    """Kafka's ``security.protocol``."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.endswith("SSL")

    @property
    def has_sasl(self) -> bool:
        """Whether the client logs in with SASL."""
        return self.startswith("SASL")


class SaslMechanism(StrEnum):
    """Kafka's ``sasl.mechanism``, those that are offered here."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


def _in_capitals(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class BrokerSettings(BaseModel):
    """The brokers, and the credentials for them; the same for consumers, producers and administration."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    broker: str = Field(
        "kafka://127.0.0.1:9092", description="Kafka brokers: kafka://host:port, several with ';'."
    )
    broker_security_protocol: Annotated[SecurityProtocol, BeforeValidator(_in_capitals)] = Field(
        SecurityProtocol.PLAINTEXT,
        description="PLAINTEXT, SSL (TLS), SASL_PLAINTEXT (a login, not encrypted) or SASL_SSL (both).",
    )
    broker_sasl_mechanism: Annotated[SaslMechanism | None, BeforeValidator(_in_capitals)] = Field(
        None, description="How to log in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."
    )
    broker_username: str | None = Field(None, description="User of PLAIN and SCRAM.")
    broker_password: SecretStr | None = Field(None, description="Password of PLAIN and SCRAM.")
    broker_password_file: str | None = Field(None, description="File with that password, in its place.")
    broker_ca_file: str | None = Field(
        None,
        description="PEM file of the authorities that may sign the brokers' certificates; the system's by"
        " default.",
    )
    broker_certificate_file: str | None = Field(
        None, description="PEM file of the client's certificate, with what it is signed by."
    )
    broker_key_file: str | None = Field(
        None, description="PEM file of the key of that certificate; by default it is in the same file."
    )
    broker_key_password: SecretStr | None = Field(None, description="Password of that key.")
    broker_key_password_file: str | None = Field(None, description="File with that password, in its place.")
    broker_oauth_token_url: str | None = Field(
        None,
        description="Where OAUTHBEARER gets its tokens, by client credentials; https://, checked against the"
        " system's authorities (or those of SSL_CERT_FILE).",
    )
    broker_oauth_client_id: str | None = Field(None, description="Client that asks for tokens.")
    broker_oauth_client_secret: SecretStr | None = Field(None, description="Secret of that client.")
    broker_oauth_client_secret_file: str | None = Field(
        None, description="File with that secret, in its place."
    )
    broker_oauth_scope: str | None = Field(None, description="Scope that is asked for; none by default.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        servers(self.broker)
        for fault in _contradictions(self):
            raise ValueError(fault)
        return self


def servers(broker: str) -> list[str]:
    """``host:port`` of each broker, for aiokafka.

    Args:
        broker: ``kafka://host:port``, several separated by ``;``; scheme and port may be left out.

    Raises:
        ValueError: it is no such address; what stands before an ``@`` is not shown.
    """
    found = [_server(address.strip()) for address in broker.split(";") if address.strip()]
    if not found:
        raise ValueError("SHELVER_BROKER is empty; it should be kafka://host:port")
    return found


def _server(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"] or DEFAULT_PORT) < 65_536:
        shown = address.rpartition("@")[2][:80]
        hint = "; a user goes to SHELVER_BROKER_USERNAME" if "@" in address else ""
        raise ValueError(f"{shown!r} is no broker address; it should be kafka://host:port{hint}")
    return f"{found['host']}:{found['port'] or DEFAULT_PORT}"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"SHELVER_{name.upper()}"


def _contradictions(settings: BrokerSettings) -> Iterator[str]:
    """What is wrong with settings that are each right by themselves; no secret is shown."""
    protocol, mechanism = settings.broker_security_protocol, settings.broker_sasl_mechanism
    chosen = f"{variable('broker_security_protocol')}={protocol}"
    if protocol.has_sasl and mechanism is None:
        yield f"{chosen} needs {variable('broker_sasl_mechanism')}: {', '.join(SaslMechanism)}"
    if not protocol.has_sasl:
        yield from _idle(
            settings, ("broker_sasl_mechanism", *_LOGIN, *_OAUTH), chosen, "SASL_SSL or SASL_PLAINTEXT"
        )
    elif mechanism is SaslMechanism.OAUTHBEARER:
        yield from _idle(settings, _LOGIN, f"{variable('broker_sasl_mechanism')}={mechanism}", "another")
        yield from _missing(settings, ("broker_oauth_token_url", "broker_oauth_client_id"), mechanism)
        yield from _secret_missing(settings, "broker_oauth_client_secret", mechanism)
        yield from _unsafe_token_url(settings.broker_oauth_token_url or "")
    else:
        yield from _idle(settings, _OAUTH, f"{variable('broker_sasl_mechanism')}={mechanism}", "OAUTHBEARER")
        yield from _missing(settings, ("broker_username",), mechanism)
        yield from _secret_missing(settings, "broker_password", mechanism)
    if not protocol.is_encrypted:
        yield from _idle(settings, _TLS, chosen, "SSL or SASL_SSL")
    if settings.broker_certificate_file is None:
        yield from _idle(settings, _KEY, "no certificate", f"{variable('broker_certificate_file')} set")
    for name in _TWO_WAYS:
        if getattr(settings, name) and getattr(settings, f"{name}_file"):
            yield f"{variable(name)} and {variable(name + '_file')} are both set; keep one of them"


def _idle(settings: BrokerSettings, names: tuple[str, ...], chosen: str, needed: str) -> Iterator[str]:
    """Ignored, a credential would leave its owner believing that the connection is secured."""
    for name in names:
        if getattr(settings, name) is not None:
            yield f"{variable(name)} does nothing with {chosen}; it wants {needed}"


def _missing(settings: BrokerSettings, names: tuple[str, ...], mechanism: Any) -> Iterator[str]:
    for name in names:
        if not getattr(settings, name):
            yield f"{mechanism} needs {variable(name)}"


def _secret_missing(settings: BrokerSettings, name: str, mechanism: Any) -> Iterator[str]:
    if not (getattr(settings, name) or getattr(settings, f"{name}_file")):
        yield f"{mechanism} needs {variable(name)} or {variable(name + '_file')}"


def _unsafe_token_url(url: str) -> Iterator[str]:
    name = variable("broker_oauth_token_url")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        has_valid_port = parts.port is None or parts.port > 0
    except ValueError:
        host, has_valid_port = "", False
    if not host or not has_valid_port or parts.username or parts.password or parts.fragment:
        yield f"{name} is no address like https://host/token (without user and password)"
    elif parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        yield f"{name} has to be https://; http:// is for this machine itself"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
