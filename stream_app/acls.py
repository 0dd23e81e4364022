"""What the brokers allow: asked before work begins, so that a missing ACL is told by its name."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    NoError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from stream_app.acl_requests import GroupsRequest, TopicsRequest
from stream_app.errors import AccessError, ShelverError

COORDINATOR_POLL_SECONDS = 0.1
_NOT_TOLD = -(2**31)


class Operation(IntEnum):
    """Operations of Kafka's ACLs, by their codes."""

    READ = 3
    WRITE = 4
    DESCRIBE = 8


ALL_OPERATIONS = frozenset(Operation)


@dataclass(frozen=True, slots=True)
class TopicAccess:
    """What is known of a topic.

    Attributes:
        exists: False also for one that this client may not see.
        allowed: Operations that the brokers allow; all where they do not tell.
    """

    exists: bool
    allowed: frozenset[Operation] = ALL_OPERATIONS


@dataclass(frozen=True, slots=True)
class Needs:
    """Operations that somebody needs.

    Attributes:
        topics: By name of topic.
        group: The consumer group to join, which takes READ; None for none.
    """

    topics: Mapping[str, frozenset[Operation]]
    group: str | None = None

    @classmethod
    def of(
        cls, *, reads: Iterable[str] = (), writes: Iterable[str] = (), group: str | None = None
    ) -> "Needs":
        """READ on some topics, WRITE on others; one may be in both."""
        topics: dict[str, frozenset[Operation]] = {}
        for operation, names in ((Operation.READ, reads), (Operation.WRITE, writes)):
            for name in names:
                topics[name] = topics.get(name, frozenset()) | {operation}
        return cls(topics, group)


async def topic_access(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicAccess]:
    """What exists and is allowed, by topic; never creates one.

    Raises:
        aiokafka.errors.KafkaError: the brokers do not answer, or have no leader for a topic yet.
    """
    response = await admin._send_request(TopicsRequest(names))  # noqa: SLF001 - it knows no such request
    return {topic["topic"]: _topic_access(topic) for topic in response.to_object()["topics"]}


def _topic_access(topic: Mapping[str, Any]) -> TopicAccess:
    error = for_code(topic["error_code"])
    if error is TopicAuthorizationFailedError:
        return TopicAccess(exists=False, allowed=frozenset())
    if error.retriable and error is not UnknownTopicOrPartitionError:
        raise error(topic["topic"])
    return TopicAccess(error is NoError, operations_of(topic.get("authorized_operations", _NOT_TOLD)))


async def group_operations(admin: AIOKafkaAdminClient, group: str) -> frozenset[Operation]:
    """The operations that are allowed on a group; all where the brokers do not tell.

    Raises:
        aiokafka.errors.KafkaError: the brokers do not answer.
        TimeoutError: no broker answers for the group.
    """
    try:
        coordinator = await _coordinator(admin, group)
        response = await admin._send_request(GroupsRequest([group]), coordinator)  # noqa: SLF001 - it knows no such request
    except GroupAuthorizationFailedError:
        return frozenset()
    except NotImplementedError:  # aiokafka's word for brokers that are too old
        return ALL_OPERATIONS
    (described,) = response.to_object()["groups"]
    if for_code(described["error_code"]) is GroupAuthorizationFailedError:
        return frozenset()
    return operations_of(described["authorized_operations"])


async def _coordinator(admin: AIOKafkaAdminClient, group: str) -> int:
    """The broker of a group; a new cluster makes the topic of the groups when it is first asked."""
    async with asyncio.timeout(10):
        while True:
            try:
                return int(await admin.find_coordinator(group))
            except CoordinatorNotAvailableError:
                await asyncio.sleep(COORDINATOR_POLL_SECONDS)


def operations_of(bits: int) -> frozenset[Operation]:
    """The operations of a bit field, bit by code; all of them for the value that stands for "not told"."""
    if bits == _NOT_TOLD:
        return ALL_OPERATIONS
    return frozenset(operation for operation in Operation if bits & (1 << operation))


def missing(
    needs: Needs, topics: Mapping[str, TopicAccess], group: frozenset[Operation] = ALL_OPERATIONS
) -> list[str]:
    """What is needed and not allowed, a phrase each: ``WRITE on topic category-assigned``."""
    phrases = [
        f"{operation.name} on topic {name}"
        for name, wanted in needs.topics.items()
        for operation in sorted(wanted - topics[name].allowed)
    ]
    if needs.group is not None and Operation.READ not in group:
        phrases.append(f"READ on group {needs.group}")
    return phrases


async def check_access(
    admin: AIOKafkaAdminClient, needs: Needs, topics: Mapping[str, TopicAccess], who: str
) -> None:
    """Refuse to begin without an operation that will be needed.

    Args:
        admin: connected.
        needs: what will be done.
        topics: of `topic_access`.
        who: the user, for the message.

    Raises:
        AccessError: names each operation that is missing.
        aiokafka.errors.KafkaError: the brokers do not answer.
    """
    group = ALL_OPERATIONS if needs.group is None else await group_operations(admin, needs.group)
    phrases = missing(needs, topics, group)
    if phrases:
        raise AccessError(f"the brokers do not allow {who}: {', '.join(phrases)}; add an ACL for each")


def user_of(arguments: Mapping[str, Any]) -> str:
    """Who the brokers see, as far as the settings tell."""
    user = arguments.get("sasl_plain_username")
    return f"user {user!r}" if user else "this client"


def told(error: BaseException | None, operation: Operation) -> str:
    """An error in words: an ACL that has gone by its name, one of our own as it is.

    Args:
        error: of aiokafka, or any other.
        operation: that was tried on a topic.
    """
    if isinstance(error, TopicAuthorizationFailedError | GroupAuthorizationFailedError) and error.args:
        names = error.args[0] if isinstance(error.args[0], set | frozenset) else {error.args[0]}
        is_topic = isinstance(error, TopicAuthorizationFailedError)
        what = f"{operation.name} on topic" if is_topic else "READ on group"
        return f"the brokers do not allow {what} {', '.join(map(str, names))} any more; add an ACL for it"
    return str(error) if isinstance(error, ShelverError) else repr(error)
