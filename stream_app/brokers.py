"""The way to the brokers for everything that talks to Kafka: one place for addresses and credentials."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from stream_app.broker_access import UnreachableError, diagnose
from stream_app.broker_security import security_arguments
from stream_app.broker_settings import BrokerSettings, servers
from stream_app.errors import AccessError, ShelverError, TopicError

CONNECT_SECONDS = 15.0
DEFAULT_MAX_RECORD_BYTES = 1_048_588
"""Kafka's own default of ``max.message.bytes``."""


class Connection(dict[str, Any]):
    """The aiokafka arguments of every client; printed, it shows no secret."""

    def __repr__(self) -> str:
        shown = ("bootstrap_servers", "security_protocol", "sasl_mechanism", "sasl_plain_username")
        return f"Connection({ {name: self[name] for name in shown if name in self} })"


def connection(settings: BrokerSettings) -> Connection:
    """The aiokafka arguments for the brokers and credentials of the settings; files are read once, here.

    Made once in a process and handed on, since OAUTHBEARER's tokens are kept with it.

    Raises:
        SettingsError: a file cannot be used.
    """
    return Connection(bootstrap_servers=servers(settings.broker), **security_arguments(settings))


@asynccontextmanager
async def administration(
    arguments: Mapping[str, Any], *, seconds: float = CONNECT_SECONDS
) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administration client, with reasons for what aiokafka only logs.

    Args:
        arguments: of `connection`.
        seconds: longest wait for a connection and for each answer.

    Raises:
        AccessError: the brokers turn this client away, and will do so again.
        aiokafka.errors.KafkaError: no broker answers, or one refuses a request.
    """
    admin = AIOKafkaAdminClient(**arguments, request_timeout_ms=int(seconds * 1000))
    try:
        async with asyncio.timeout(seconds):
            await admin.start()
        yield admin
    # A server that fails in SCRAM is a ValueError of aiokafka, one that breaks PLAIN an AssertionError.
    except (KafkaError, OSError, TimeoutError, ValueError, AssertionError) as error:
        found = None if isinstance(error, ShelverError) else await diagnose(arguments)
        if found is None:
            raise
        if found.is_final:
            raise AccessError(found.text) from error
        raise UnreachableError(found.text) from error
    finally:
        await admin.close()


@asynccontextmanager
async def reach(broker: str, arguments: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administration client of brokers that answer.

    Args:
        broker: the address as the user gave it, for the message.
        arguments: of `connection`.

    Raises:
        TopicError: nobody answers within ``CONNECT_SECONDS``, or no more.
        AccessError: the brokers turn this client away.
    """
    connected = False
    try:
        async with administration(arguments) as admin:
            connected = True
            yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        if connected:
            raise TopicError(f"{broker} does not tell its topics ({error!r}); try again") from error
        known = f" ({error})" if isinstance(error, UnreachableError) else ""
        raise TopicError(
            f"no Kafka answers at {broker}{known}; start one with `shelver broker`, or name another with"
            " --broker or SHELVER_BROKER"
        ) from error


async def max_record_bytes(admin: AIOKafkaAdminClient, topic: str) -> int:
    """The largest record a topic takes, in bytes; Kafka's default when the brokers do not tell."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": None})]
    try:
        answers = await admin.describe_configs(wanted)
    except KafkaError:
        return DEFAULT_MAX_RECORD_BYTES
    values = {
        name: value for answer in answers for resource in answer.resources for name, value, *_ in resource[4]
    }
    return int(values.get("max.message.bytes") or DEFAULT_MAX_RECORD_BYTES)
