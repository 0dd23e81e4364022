"""Requests that ask the brokers which operations are allowed on topics and groups (KIP-430, Kafka 2.3).

aiokafka does not ask it for topics, and misreads the answer for groups.
"""

from collections.abc import Sequence
from typing import Any

from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

__all__ = ["GroupsRequest", "TopicsRequest"]


class _TopicsResponse(Response):  # type: ignore[misc]
    """Metadata, version 8: with epochs of leaders and allowed operations."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _TopicsRequest_v8(RequestStruct):  # type: ignore[misc]  # noqa: N801 - as aiokafka names its own
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class TopicsRequest(Request[MetadataRequest_v4 | MetadataRequest_v5 | _TopicsRequest_v8]):  # type: ignore[misc]
    """Metadata of some topics, with what is allowed where the brokers can tell."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: Any) -> Any:
        """The request in the version that the brokers have."""
        if request_struct_class is _TopicsRequest_v8:
            return _TopicsRequest_v8(self._topics, False, False, True)  # noqa: FBT003 - fields of the schema
        return request_struct_class(self._topics, False)  # noqa: FBT003 - a field of the schema


class _GroupsRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801 - as aiokafka names its own
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class GroupsRequest(Request[_GroupsRequest_v3]):  # type: ignore[misc]
    """Descriptions of groups, with what is allowed."""

    API_KEY = 15

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = list(groups)

    def build(self, request_struct_class: Any) -> Any:
        """The request in the version that the brokers have."""
        return request_struct_class(self._groups, True)  # noqa: FBT003 - a field of the schema
