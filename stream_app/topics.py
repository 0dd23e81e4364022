"""Topics: their names, and making sure at start that they exist.

A consumer that starts before its topic exists is assigned nothing and looks again only much later, so the
service creates what is missing before it joins its group.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from pydantic import BaseModel, ConfigDict, Field

from stream_app.acls import Needs, TopicAccess, check_access, topic_access, user_of
from stream_app.brokers import administration
from stream_app.errors import AccessError, TopicError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
REQUEST_SECONDS = 10.0


class TopicSettings(BaseModel):
    """Names of the topics, and what to create where one is missing."""

    model_config = ConfigDict(frozen=True)

    product_listed_topic: str = Field(
        "product-listed", min_length=1, max_length=249, description="Topic of the listings to classify."
    )
    category_assigned_topic: str = Field(
        "category-assigned", min_length=1, max_length=249, description="Topic of the categories found."
    )
    dead_letter_topic: str = Field(
        "product-listed.dead-letter",
        min_length=1,
        max_length=249,
        description="Topic of what cannot be classified or explained, as received.",
    )
    explanation_requested_topic: str = Field(
        "explanation-requested", min_length=1, max_length=249, description="Topic of what to explain."
    )
    category_explained_topic: str = Field(
        "category-explained", min_length=1, max_length=249, description="Topic of the explanations."
    )
    category_corrected_topic: str = Field(
        "category-corrected",
        min_length=1,
        max_length=249,
        description="Topic of what people say that categories should have been.",
    )
    topic_partitions: int = Field(4, ge=1, description="Partitions of a topic that is created.")
    topic_replication: int = Field(1, ge=1, description="Replication factor of a topic that is created.")
    topic_startup_seconds: float = Field(
        300.0, gt=0, description="Longest wait, in seconds, at start for brokers and topics before giving up."
    )

    @property
    def all_topics(self) -> tuple[str, ...]:
        """Every topic the service reads or writes."""
        return (
            self.product_listed_topic,
            self.category_assigned_topic,
            self.dead_letter_topic,
            self.explanation_requested_topic,
            self.category_explained_topic,
            self.category_corrected_topic,
        )


def worker_needs(settings: TopicSettings, group: str, *, searches_categories: bool) -> Needs:
    """What a worker does on which topic; the ACLs that it needs are these and no others.

    Args:
        settings: names of the topics.
        group: the consumer group.
        searches_categories: whether events that an explanation is asked for, and assignments that people
            correct, are found among the latest categories.
    """
    read_back = (settings.category_assigned_topic,) if searches_categories else ()
    return Needs.of(
        reads=(
            settings.product_listed_topic,
            settings.explanation_requested_topic,
            settings.category_corrected_topic,
            *read_back,
        ),
        writes=(
            settings.category_assigned_topic,
            settings.category_explained_topic,
            settings.dead_letter_topic,
            # A listing that asks to be explained becomes a request there.
            settings.explanation_requested_topic,
        ),
        group=group,
    )


def gateway_needs(settings: TopicSettings) -> Needs:
    """What a gateway does on which topic; it joins no group."""
    return Needs.of(
        reads=(
            settings.category_assigned_topic,
            settings.category_explained_topic,
            settings.dead_letter_topic,
            # A listing is told as it was sent.
            settings.product_listed_topic,
        ),
        writes=(
            settings.product_listed_topic,
            settings.explanation_requested_topic,
            settings.category_corrected_topic,
        ),
    )


async def ensure_topics(settings: TopicSettings, connection: Mapping[str, Any], needs: Needs) -> None:
    """Wait for the brokers, create the topics that are missing, and make sure of what is allowed on them.

    Args:
        settings: partitions, replication and the longest wait.
        connection: aiokafka arguments, ``bootstrap_servers`` and authentication.
        needs: what will be done on which topic.

    Raises:
        TopicError: no broker answered in time, or one refuses to create a topic.
        AccessError: the brokers turn this client away, or do not allow what it needs.
    """
    deadline = time.monotonic() + settings.topic_startup_seconds
    while True:
        try:
            async with administration(connection, seconds=REQUEST_SECONDS) as admin:
                await _prepare(admin, settings, needs, user_of(connection))
            return
        except (KafkaError, OSError, TimeoutError) as error:
            if time.monotonic() >= deadline:
                raise TopicError(
                    f"no Kafka at {connection['bootstrap_servers']} after "
                    f"{settings.topic_startup_seconds:g} s ({error}); check SHELVER_BROKER, "
                    "or start one with `shelver broker`"
                ) from error
            logger.warning("waiting for Kafka at %s: %s", connection["bootstrap_servers"], error)
            await asyncio.sleep(RETRY_SECONDS)


async def _prepare(admin: AIOKafkaAdminClient, settings: TopicSettings, needs: Needs, who: str) -> None:
    names = list(needs.topics)
    topics = await topic_access(admin, names)
    if any(not topic.exists and not topic.allowed for topic in topics.values()):
        # Whether a topic exists that may not be seen is not known, so none can be created.
        await check_access(admin, needs, topics, who)
    absent = [name for name in names if not topics[name].exists]
    if absent:
        await _create(admin, absent, settings, who)
        topics = await _once_listed(admin, names)
    await check_access(admin, needs, topics, who)


async def _create(
    admin: AIOKafkaAdminClient, names: Sequence[str], settings: TopicSettings, who: str
) -> None:
    topics = [NewTopic(name, settings.topic_partitions, settings.topic_replication) for name in names]
    response = await admin.create_topics(topics)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            raise AccessError(
                f"topic {name!r} is missing and the brokers do not allow {who} to create it; create it by"
                f" hand or add an ACL: CREATE on topic {name}"
            )
        if code and error is not TopicAlreadyExistsError:
            if error.retriable:
                raise error(*message)
            raise TopicError(
                f"topic {name!r} cannot be created ({error.__name__}: {' '.join(map(str, message))}); "
                "create it by hand or change SHELVER_TOPIC_PARTITIONS and SHELVER_TOPIC_REPLICATION"
            )
        logger.info("created topic %s with %d partitions", name, settings.topic_partitions)


async def _once_listed(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicAccess]:
    for _ in range(50):
        topics = await topic_access(admin, names)
        if all(topic.exists for topic in topics.values()):
            return topics
        await asyncio.sleep(0.1)
    raise TimeoutError(f"topics {', '.join(names)} were created but are not listed yet")
