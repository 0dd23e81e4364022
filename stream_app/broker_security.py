"""Credentials as aiokafka takes them: TLS context, user and password, or a source of tokens."""

import logging
import ssl
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from stream_app.broker_settings import BrokerSettings, SaslMechanism, variable
from stream_app.errors import SettingsError
from stream_app.oauth_tokens import ClientCredentials
from stream_app.secret_files import cause, read_secret_file


def security_arguments(settings: BrokerSettings) -> dict[str, Any]:
    """The part of aiokafka's arguments that is about security.

    Raises:
        SettingsError: a file cannot be read, holds no certificate, or a key that does not fit.
    """
    protocol, mechanism = settings.broker_security_protocol, settings.broker_sasl_mechanism
    arguments: dict[str, Any] = {"security_protocol": protocol.value}
    if protocol.is_encrypted:
        arguments["ssl_context"] = tls_context(settings)
    if mechanism is None:
        return arguments
    hide_logins()
    arguments["sasl_mechanism"] = mechanism.value
    if mechanism is SaslMechanism.OAUTHBEARER:
        arguments["sasl_oauth_token_provider"] = ClientCredentials(
            settings.broker_oauth_token_url or "",
            settings.broker_oauth_client_id or "",
            _secret(settings, "broker_oauth_client_secret"),
            settings.broker_oauth_scope,
        )
    else:
        arguments["sasl_plain_username"] = settings.broker_username
        arguments["sasl_plain_password"] = _secret(settings, "broker_password")
    return arguments


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer; the brokers' certificates and host names are checked, always.

    Raises:
        SettingsError: a file cannot be read, holds no certificate, or a key that does not fit.
    """
    context = _trusting(settings.broker_ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.broker_certificate_file is not None:
        _add_certificate(context, settings, settings.broker_certificate_file)
    return context


def _trusting(path: str | None) -> ssl.SSLContext:
    """A context that trusts the authorities of a file, or else the system's."""
    if path is None:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    name = variable("broker_ca_file")
    _check_readable(name, path)
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=path)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(f"{name}: {path} holds no certificate in PEM form ({_reason(error)})") from None


def _add_certificate(context: ssl.SSLContext, settings: BrokerSettings, path: str) -> None:
    key_path = settings.broker_key_file or path
    _check_readable(variable("broker_certificate_file"), path)
    _check_readable(variable("broker_key_file"), key_path)
    has_password = bool(settings.broker_key_password or settings.broker_key_password_file)
    password = _secret(settings, "broker_key_password") if has_password else ""
    try:
        # Given a password, if an empty one, OpenSSL does not ask for it on the terminal.
        context.load_cert_chain(path, key_path, password=lambda: password)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"{variable('broker_certificate_file')}: {path} and the key in {key_path} cannot be used"
            f" ({_reason(error)}): they have to be PEM, the key has to be that of the first certificate, and"
            f" {variable('broker_key_password')} has to open it"
        ) from None


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name}: {path[:200]} cannot be read ({cause(error)})") from None


def _secret(settings: BrokerSettings, name: str) -> str:
    """The secret itself, from its setting or its file."""
    given: SecretStr | None = getattr(settings, name)
    if given is not None:
        return given.get_secret_value()
    return read_secret_file(getattr(settings, f"{name}_file"), variable=variable(f"{name}_file"))


def hide_logins() -> None:
    """Keep the bytes of SASL, passwords and tokens among them, out of what aiokafka logs at `debug`."""
    logging.getLogger("aiokafka.conn").addFilter(_without_sasl)


def _without_sasl(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(
            f"{type(value).__name__}(...)" if type(value).__name__.startswith("Sasl") else value
            for value in record.args
        )
    return True
