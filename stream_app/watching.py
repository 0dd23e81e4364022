"""What comes out of the service: categories, explanations and dead letters, and how old each event was."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.assignments import CategoryAssigned, ImageUse, Modalities, TextUse
from schemas.codec import decode
from schemas.dead_letters import Failure, read_failure
from schemas.errors import MessageError
from schemas.explanations import CategoryExplained
from stream_app.acls import Needs, check_access, topic_access, user_of
from stream_app.batching import Record
from stream_app.broker_settings import BrokerSettings
from stream_app.brokers import connection, reach
from stream_app.errors import TopicError
from stream_app.topics import TopicSettings

MAX_REMEMBERED_ARRIVALS = 100_000
POLL_MS = 250
TOPIC_POLL_SECONDS = 1.0
POSITION_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event.

    Attributes:
        at: When the record was written.
        product_id: The product, as far as it is known.
        result: The category, its explanation, the failure of a dead letter, or why the record cannot be read.
        latency_ms: Age of the event when the record was written; None when its arrival was not seen.
    """

    at: datetime
    product_id: str
    result: CategoryAssigned | CategoryExplained | Failure | str
    latency_ms: int | None


class Arrivals:
    """When events came in, by their place on Kafka; the latest ``max_remembered`` of them."""

    def __init__(self, max_remembered: int = MAX_REMEMBERED_ARRIVALS) -> None:
        self._timestamps_ms: OrderedDict[str, int] = OrderedDict()
        self._max_remembered = max_remembered

    def add(self, record: Record) -> None:
        """Remember an event's record."""
        self._timestamps_ms[f"{record.topic}-{record.partition}-{record.offset}"] = record.timestamp
        if len(self._timestamps_ms) > self._max_remembered:
            self._timestamps_ms.popitem(last=False)

    def age_ms(self, source: str, timestamp_ms: int) -> int | None:
        """Age at a time of the event at ``topic-partition-offset``; None when it was not seen."""
        arrived_ms = self._timestamps_ms.get(source)
        return None if arrived_ms is None else timestamp_ms - arrived_ms


def read_outcome(
    record: Record, arrivals: Arrivals, kind: type[CategoryAssigned | CategoryExplained] = CategoryAssigned
) -> Outcome | None:
    """What a record of an output topic says; None for a tombstone.

    Args:
        record: what the topic holds.
        arrivals: when listings came in.
        kind: the message that the topic is for; dead letters are told by their headers.
    """
    if record.value is None:
        return None
    at = datetime.fromtimestamp(max(0, record.timestamp) / 1000, UTC)
    key = (record.key or b"").decode(errors="replace")
    failure = read_failure(record.headers)
    if failure is not None:
        return Outcome(at, key, failure, arrivals.age_ms(failure.source, record.timestamp))
    try:
        result = decode(kind, record.value, record.headers, default_event_id="unknown")
    except MessageError as error:
        return Outcome(at, key, str(error), None)
    source = result.source if isinstance(result, CategoryAssigned) else None
    place = f"{source.topic}-{source.partition}-{source.offset}" if source else ""
    return Outcome(at, result.product_id, result, arrivals.age_ms(place, record.timestamp))


def used_evidence(modalities: Modalities, image_reason: str | None) -> str:
    """What a category rests on, in a few words: ``text + image``, ``text (image: timeout)``."""
    used = {
        TextUse.USED: "text",
        TextUse.TRUNCATED: "text (truncated)",
        TextUse.ABSENT: "",
    }[modalities.text]
    image = "image" if modalities.image is ImageUse.USED else ""
    evidence = " + ".join(filter(None, (used, image))) or "nothing"
    if modalities.image is ImageUse.SKIPPED:
        return f"{evidence} (image: skipped)"
    if modalities.image is ImageUse.UNAVAILABLE:
        return f"{evidence} (image: {image_reason or 'unavailable'})"
    return evidence


async def watch(
    brokers: BrokerSettings,
    topics: TopicSettings,
    *,
    from_beginning: bool = False,
    with_latency: bool = True,
    on_waiting: Callable[[list[str]], None] = lambda _missing: None,
    on_ready: Callable[[], None] = lambda: None,
) -> AsyncGenerator[list[Outcome]]:
    """What comes out, a list at a time, oldest first in each; waits for topics that do not exist yet.

    Args:
        brokers: where they are, and the credentials.
        topics: their names.
        from_beginning: also what the topics hold already.
        with_latency: read the listings too, to know when they came in; that is as much traffic as they are.
        on_waiting: told once which topics are missing, if any.
        on_ready: called when nothing that is written from now on will be missed.

    Raises:
        SettingsError: a file with a credential cannot be used.
        AccessError: the brokers turn this client away, or do not allow it to read a topic.
        TopicError: no broker answers.
    """
    arguments, broker = connection(brokers), brokers.broker
    outputs: dict[str, type[CategoryAssigned | CategoryExplained]] = {
        topics.category_assigned_topic: CategoryAssigned,
        topics.category_explained_topic: CategoryExplained,
        topics.dead_letter_topic: CategoryAssigned,
    }
    wanted = [*outputs, *([topics.product_listed_topic] if with_latency else [])]
    await _wait_for_topics(broker, arguments, wanted, on_waiting)
    arrivals = Arrivals()
    async with _consumer(broker, arguments, wanted, from_beginning=from_beginning) as consumer:
        on_ready()
        while True:
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            records = sorted((record for batch in batches.values() for record in batch), key=_by_time)
            for record in records:
                if record.topic == topics.product_listed_topic:
                    arrivals.add(record)
            read = (
                read_outcome(record, arrivals, outputs[record.topic])
                for record in records
                if record.topic in outputs
            )
            yield [outcome for outcome in read if outcome is not None]


def _by_time(record: Record) -> int:
    return record.timestamp


@asynccontextmanager
async def _consumer(
    broker: str, arguments: Mapping[str, Any], topics: list[str], *, from_beginning: bool
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        *topics,
        **arguments,
        auto_offset_reset="earliest" if from_beginning else "latest",
        enable_auto_commit=False,
        metadata_max_age_ms=5_000,
    )
    try:
        try:
            async with asyncio.timeout(POSITION_SECONDS):
                await consumer.start()
                # The end of a partition is looked up when it is first read; until then records are missed.
                for partition in consumer.assignment():
                    await consumer.position(partition)
        except (KafkaError, TimeoutError) as error:
            raise TopicError(f"the topics at {broker} cannot be read ({error!r}); try again") from error
        yield consumer
    finally:
        await consumer.stop()


async def _wait_for_topics(
    broker: str, arguments: Mapping[str, Any], wanted: list[str], on_waiting: Callable[[list[str]], None]
) -> None:
    """Reading a topic that does not exist would make some brokers create it."""
    async with reach(broker, arguments) as admin:
        told = False
        while missing := await _missing_topics(admin, wanted, user_of(arguments)):
            if not told:
                on_waiting(missing)
                told = True
            await asyncio.sleep(TOPIC_POLL_SECONDS)


async def _missing_topics(admin: AIOKafkaAdminClient, wanted: list[str], who: str) -> list[str]:
    topics = await topic_access(admin, wanted)
    await check_access(admin, Needs.of(reads=wanted), topics, who)
    return sorted(name for name, topic in topics.items() if not topic.exists)
