"""The way in: records that the brokers have confirmed, or an error within seconds.

While the brokers are away nothing queues up: the producer is given up with all that it holds, which tells
those who wait, and whoever comes then is refused at once until there is a new one. Whoever was refused after
a record was handed over does not know whether it arrived, and sends it again under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream_app.brokers import max_record_bytes, reach
from stream_app.catalogue_publishing import BATCH_OVERHEAD_BYTES, confirming_producer
from stream_app.edge.problems import ProblemError

__all__ = ["Letter", "Sender"]

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A record to write."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Sender:
    """Writes records; `run` keeps a producer that works.

    Args:
        broker: the address as the operator gave it.
        connection: aiokafka arguments.
        topics: that are written to.
        confirm_seconds: longest wait for a confirmation.
        on_sent: told how many records were confirmed.
    """

    def __init__(
        self,
        broker: str,
        connection: Mapping[str, Any],
        topics: Sequence[str],
        *,
        confirm_seconds: float,
        on_sent: Callable[[int], None],
    ) -> None:
        self._broker = broker
        self._connection = connection
        self._topics = topics
        self._confirm_seconds = confirm_seconds
        self._on_sent = on_sent
        self._producer: AIOKafkaProducer | None = None
        self._limits: dict[str, int] = {}
        self._lost = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether records are taken."""
        return self._producer is not None

    def limit(self, topic: str) -> int | None:
        """The largest record that a topic takes, in bytes; None while that is not known."""
        return self._limits.get(topic)

    async def partitions_of(self, topic: str) -> Collection[int]:
        """The partitions of a topic.

        Raises:
            aiokafka.errors.KafkaError: the brokers do not answer.
        """
        if self._producer is None:
            raise KafkaConnectionError("not connected")
        async with asyncio.timeout(self._confirm_seconds):
            found: Collection[int] = await self._producer.partitions_for(topic)
        return found

    async def send(self, letters: Sequence[Letter]) -> None:
        """Write records and wait until the brokers have all of them.

        Raises:
            ProblemError: 413 where one is larger than its topic takes: none is written then. 503 where the
                brokers do not confirm in time: it is not known which of them have arrived.
        """
        for letter in letters:
            self._check_size(letter)
        producer = self._producer
        if producer is None:
            raise _unavailable("no Kafka broker answers, nothing was sent; come again")
        try:
            async with asyncio.timeout(self._confirm_seconds):
                deliveries = [
                    await producer.send(
                        letter.topic, letter.value, key=letter.key, headers=list(letter.headers)
                    )
                    for letter in letters
                ]
                await asyncio.gather(*deliveries)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            # The brokers' limit is lower than it was: what is known of it is asked for again.
            self._lose(producer, error)
            raise ProblemError(413, "too-large", "the brokers refuse a record of this size") from error
        except (KafkaError, TimeoutError) as error:
            self._lose(producer, error)
            raise _unavailable(
                "Kafka has not confirmed it in time, so it may have arrived or not; send it again under the"
                " same id"
            ) from error
        self._on_sent(len(letters))

    async def run(self) -> None:
        """Connect, and connect anew whenever a producer has failed; ends when it is cancelled."""
        while True:
            producer = await self._connected()
            self._lost.clear()
            self._producer = producer
            try:
                await self._lost.wait()
            except asyncio.CancelledError:
                self._producer = None
                await _stop(producer)
                raise
            await _give_up(producer)

    async def _connected(self) -> AIOKafkaProducer:
        while True:
            try:
                await self._learn_limits()
                return await self._start()
            except (KafkaError, OSError, TimeoutError, ValueError) as error:
                logger.warning("the gateway cannot send: %s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _learn_limits(self) -> None:
        async with reach(self._broker, self._connection) as admin:
            self._limits = {
                topic: await max_record_bytes(admin, topic) - BATCH_OVERHEAD_BYTES for topic in self._topics
            }

    async def _start(self) -> AIOKafkaProducer:
        limit = max(self._limits.values())
        producer = confirming_producer(self._connection, limit, seconds=self._confirm_seconds)
        try:
            async with asyncio.timeout(self._confirm_seconds):
                await producer.start()
                # Known before the first request needs it.
                for topic in self._topics:
                    await producer.partitions_for(topic)
        except BaseException:
            await _stop(producer)
            raise
        return producer

    def _check_size(self, letter: Letter) -> None:
        limit = self._limits.get(letter.topic)
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(
            letter.key, letter.value, list(letter.headers)
        )
        if limit is not None and size > limit:
            raise ProblemError(
                413,
                "too-large",
                f"it takes {size} bytes on Kafka, where {limit} are allowed; give a picture by its address,"
                " or a smaller one",
                limit_bytes=limit,
            )

    def _lose(self, producer: AIOKafkaProducer, error: Exception) -> None:
        if self._producer is producer:
            logger.warning("Kafka has not confirmed a record (%s); connecting anew", type(error).__name__)
            self._producer = None
            self._lost.set()


def _unavailable(detail: str) -> ProblemError:
    return ProblemError(503, "unavailable", detail, headers={"Retry-After": "2"})


async def _stop(producer: AIOKafkaProducer) -> None:
    """Send what is queued and disconnect; brokers that have gone are not waited for."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError):
        await _give_up(producer)


async def _give_up(producer: AIOKafkaProducer) -> None:
    """Disconnect at once; nothing of what is queued is sent later on."""
    await producer.client.close()
    # aiokafka keeps the records of an idempotent producer for ever and waits for them at its stop: so its
    # sender ends first, and what is queued fails.
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await producer._sender.close()  # noqa: SLF001
    producer._message_accumulator.fail_all(KafkaConnectionError("given up"))  # noqa: SLF001
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
    await producer.client.close()
