"""Which topic a name stands for: one that is deleted and made anew has another id (KIP-516).

Offsets of the old topic say nothing of the new one. The client goes on from them all the same, and commits
them, so that the first records of the new topic would never be read. aiokafka asks for metadata in versions
that do not tell ids; here is the one that does.
"""

from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

__all__ = ["commit_metadata", "is_of_another_topic", "topic_ids"]

PREFIX = "topic-id="
NO_ID = UUID(int=0)
_METADATA = 3
_VERSION = 12


class _Uuid(AbstractType[UUID]):  # type: ignore[misc] # aiokafka is read without types
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = _METADATA
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = _METADATA
    API_VERSION = _VERSION
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]
    API_KEY = _METADATA

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        return request_struct_class(
            topics=[(NO_ID, topic, {}) for topic in self._topics],
            allow_auto_topic_creation=False,
            include_topic_authorized_operations=False,
            tags={},
        )


async def topic_ids(client: Any, topics: Collection[str]) -> Mapping[str, str]:
    """The ids of topics; those that do not exist are left out, and all where brokers know no ids.

    Args:
        client: a started `aiokafka.client.AIOKafkaClient`.
        topics: names.

    Raises:
        aiokafka.errors.KafkaError: no broker answers.
    """
    try:
        answer = await client.send(client.get_random_node(), _MetadataRequest(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):
        # What aiokafka raises when the brokers do not offer this version: they are older than 2.8.
        return {}
    return {name: topic_id.hex for _, name, topic_id, *_ in answer.topics if topic_id != NO_ID}


def commit_metadata(topic_id: str | None) -> str:
    """What is written beside a committed offset."""
    return "" if topic_id is None else PREFIX + topic_id


def is_of_another_topic(metadata: str, topic_id: str | None) -> bool:
    """Whether a committed offset is of a topic that is no more; one that says nothing is believed."""
    return topic_id is not None and metadata.startswith(PREFIX) and metadata != commit_metadata(topic_id)
