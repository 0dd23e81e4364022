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
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from pydantic import BaseModel, ConfigDict, Field

from stream_app.errors import TopicError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


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
        )


async def ensure_topics(settings: TopicSettings, connection: Mapping[str, Any]) -> None:
    """Wait for the brokers, then create the topics that are missing.

    Args:
        settings: names, partitions, replication and the longest wait.
        connection: aiokafka arguments, ``bootstrap_servers`` and authentication.

    Raises:
        TopicError: no broker answered in time, or one refuses to create a topic.
    """
    deadline = time.monotonic() + settings.topic_startup_seconds
    while True:
        try:
            await _create_missing(settings, connection)
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


async def _create_missing(settings: TopicSettings, connection: Mapping[str, Any]) -> None:
    admin = AIOKafkaAdminClient(**connection, request_timeout_ms=10_000)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [name for name in dict.fromkeys(settings.all_topics) if name not in existing]
        if missing:
            await _create(admin, missing, settings)
            await _wait_until_listed(admin, missing)
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, names: Sequence[str], settings: TopicSettings) -> None:
    topics = [NewTopic(name, settings.topic_partitions, settings.topic_replication) for name in names]
    response = await admin.create_topics(topics)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            if error.retriable:
                raise error(*message)
            raise TopicError(
                f"topic {name!r} cannot be created ({error.__name__}: {' '.join(map(str, message))}); "
                "create it by hand or change SHELVER_TOPIC_PARTITIONS and SHELVER_TOPIC_REPLICATION"
            )
        logger.info("created topic %s with %d partitions", name, settings.topic_partitions)


async def _wait_until_listed(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    for _ in range(50):
        if set(names) <= set(await admin.list_topics()):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"topics {', '.join(names)} were created but are not listed yet")
