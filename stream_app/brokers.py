"""The way to the brokers for commands that run without Faust: addresses, and answers that do not hang."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from stream_app.errors import SettingsError, TopicError

DEFAULT_PORT = 9092
CONNECT_SECONDS = 15.0
_ADDRESS = re.compile(
    r"(?:(?:aio)?kafka://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/@?#\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
DEFAULT_MAX_RECORD_BYTES = 1_048_588
"""Kafka's own default of ``max.message.bytes``."""


def connection(broker: str) -> dict[str, Any]:
    """The aiokafka arguments for the value of ``SHELVER_BROKER``; credentials will join them here.

    Args:
        broker: ``kafka://host:port``, several separated by ``;``; scheme and port may be left out.

    Raises:
        SettingsError: it is no such address.
    """
    servers = [_server(address.strip()) for address in broker.split(";") if address.strip()]
    if not servers:
        raise SettingsError("SHELVER_BROKER is empty; it should be kafka://host:port")
    return {"bootstrap_servers": servers}


def _server(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"] or DEFAULT_PORT) < 65_536:
        shown = address.rpartition("@")[2][:80]
        raise SettingsError(f"{shown!r} is no broker address; it should be kafka://host:port")
    return f"{found['host']}:{found['port'] or DEFAULT_PORT}"


@asynccontextmanager
async def reach(broker: str, arguments: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administration client of brokers that answer.

    Args:
        broker: the address as the user gave it, for the message.
        arguments: of `connection`.

    Raises:
        TopicError: nobody answers within ``CONNECT_SECONDS``.
    """
    admin = AIOKafkaAdminClient(**arguments, request_timeout_ms=int(CONNECT_SECONDS * 1000))
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await admin.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await admin.close()
        raise TopicError(
            f"no Kafka answers at {broker}; start one with `shelver broker`, or name another with --broker or"
            " SHELVER_BROKER"
        ) from error
    try:
        yield admin
    finally:
        await admin.close()


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
