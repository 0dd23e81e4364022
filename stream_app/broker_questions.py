"""What the brokers say when asked beside the stream: ends of partitions, and which topics there are."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from stream_app.acknowledgement import TopicPartition
from stream_app.topic_ids import topic_ids

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class BrokerAnswers:
    """What the brokers said.

    Attributes:
        ends: offset behind the last record; partitions that nobody answers for are left out.
        topics: names of all topics that this client may see.
        topic_ids: of the topics that were asked for by name, as far as there are any.
    """

    ends: Mapping[TopicPartition, int]
    topics: Collection[str]
    topic_ids: Mapping[str, str]


class BrokerQuestions:
    """Asks through a client of its own, without a group: what hangs in the stream does not hang here.

    Args:
        connection: aiokafka arguments.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._connection = connection
        self._consumer: AIOKafkaConsumer | None = None

    async def ask(
        self, partitions: Iterable[TopicPartition], named: Collection[str] = ()
    ) -> BrokerAnswers | None:
        """Ask for the ends of partitions, for all topics, and for the ids of those that are named.

        Returns:
            None when no broker answers in time.
        """
        by_topic: dict[str, list[KafkaPartition]] = {}
        for topic, number in partitions:
            by_topic.setdefault(topic, []).append(KafkaPartition(topic, number))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                consumer = await self._connected()
                topics, ids, *ends = await asyncio.gather(
                    consumer.topics(),
                    topic_ids(consumer._client, named),  # noqa: SLF001
                    *(_ends(consumer, group) for group in by_topic.values()),
                )
        except (KafkaError, OSError, TimeoutError) as error:
            logger.warning("no broker answers for the ends of partitions: %r", error)
            await self.stop()
            return None
        return BrokerAnswers({key: end for group in ends for key, end in group.items()}, topics, ids)

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.stop()

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._connection,
                enable_auto_commit=False,
                request_timeout_ms=int(ANSWER_SECONDS * 500),
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer


async def _ends(consumer: AIOKafkaConsumer, partitions: list[KafkaPartition]) -> dict[TopicPartition, int]:
    """Ends of the partitions of one topic; none when it is being deleted or has no leader."""
    try:
        ends = await consumer.end_offsets(partitions)
    except KafkaError as error:
        logger.warning("no broker answers for topic %s: %r", partitions[0].topic, error)
        return {}
    return {TopicPartition(*partition): end for partition, end in ends.items()}
