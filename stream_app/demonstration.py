"""Listings published at a steady rate and read back as they come out, until each is accounted for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.assignments import CategoryAssigned
from schemas.base import derived_id
from schemas.codec import encode
from schemas.dead_letters import Failure, read_failure
from schemas.explanations import CategoryExplained, ExplanationRequested
from schemas.products import ProductListed
from stream_app.event_tally import EventTally
from stream_app.topics import TopicSettings

__all__ = ["Answer", "Pace", "explain_event", "run_events"]

NUM_PACED = 10
"""Listings sent between two waits; the pace holds on average."""

SETTLING_MS = 500
"""How long to listen for duplicates after the last answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to publish and how long to wait.

    Attributes:
        rate: listings a second.
        patience_seconds: longest wait for the next output; what is missing then is lost.
    """

    rate: float
    patience_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out for one listing: a category, or why there is none."""

    listing: ProductListed | None
    outcome: CategoryAssigned | Failure
    latency_ms: int | None


class _Round:
    """The state of one run: what was sent where, and what came out."""

    def __init__(self, topics: TopicSettings, on_answer: Callable[[Answer], None]) -> None:
        self.tally = EventTally()
        self._topics = topics
        self._on_answer = on_answer
        self._listings: dict[str, ProductListed] = {}

    async def publish(
        self, producer: AIOKafkaProducer, listings: Sequence[ProductListed], rate: float
    ) -> None:
        """Send at `rate` listings a second and wait until the brokers confirmed each.

        Raises:
            aiokafka.errors.KafkaError: one was not delivered.
        """
        started, deliveries = time.monotonic(), []
        for number, listing in enumerate(listings):
            if number % NUM_PACED == 0:
                await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            delivery = await producer.send(
                self._topics.product_listed_topic, key=listing.product_id.encode(), value=encode(listing)
            )
            deliveries.append(asyncio.create_task(self._confirmed(listing, delivery)))
        await asyncio.gather(*deliveries)

    def take_all(self, records: Sequence[Any]) -> None:
        """Count records of an output topic and report each."""
        for record in records:
            self._take(record)

    def _take(self, record: Any) -> None:
        outcome: CategoryAssigned | Failure | None
        if record.topic == self._topics.category_assigned_topic:
            outcome = CategoryAssigned.model_validate_json(record.value)
            origin = outcome.source
            source = "" if origin is None else f"{origin.topic}-{origin.partition}-{origin.offset}"
            self.tally.assigned(source, record.timestamp)
        else:
            outcome = read_failure(record.headers)
            source = outcome.source if outcome else ""
            self.tally.dead_lettered(source, record.timestamp)
        if outcome is not None:
            self._on_answer(Answer(self._listings.get(source), outcome, self.tally.latency_ms(source)))

    async def _confirmed(self, listing: ProductListed, delivery: asyncio.Future[Any]) -> None:
        place = await delivery
        source = f"{place.topic}-{place.partition}-{place.offset}"
        self._listings[source] = listing
        self.tally.published(source, place.timestamp)


async def run_events(
    bootstrap: str,
    topics: TopicSettings,
    listings: Sequence[ProductListed],
    *,
    pace: Pace,
    on_answer: Callable[[Answer], None],
    check: Callable[[], None],
) -> EventTally:
    """Publish listings and read what comes out until all are answered, or nothing has come for a while.

    Latencies are right when the topics carry the brokers' timestamps (`LogAppendTime`).

    Args:
        bootstrap: `host:port` of a broker.
        topics: names of the topics, which exist.
        listings: what to publish.
        pace: how fast to publish and how long to wait.
        on_answer: told about each output.
        check: called often; raises when waiting makes no sense any more.

    Raises:
        aiokafka.errors.KafkaError: the broker cannot be reached, or a listing was not delivered.
    """
    state = _Round(topics, on_answer)
    consumer = AIOKafkaConsumer(
        topics.category_assigned_topic,
        topics.dead_letter_topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_request_size=12 * 2**20, linger_ms=5
    )
    async with consumer, producer:
        publishing = asyncio.create_task(state.publish(producer, listings, pace.rate))
        try:
            await _read_until_answered(state, consumer, publishing, pace.patience_seconds, check)
        finally:
            publishing.cancel()
            await asyncio.wait({publishing})
    return state.tally


async def explain_event(
    bootstrap: str, topics: TopicSettings, event_id: str, *, patience_seconds: float = 30.0
) -> CategoryExplained | None:
    """Ask why an event that was listed got its category, and wait for the answer; None if none comes.

    Raises:
        aiokafka.errors.KafkaError: the broker cannot be reached, or the request was not delivered.
    """
    request = ExplanationRequested(request_id=derived_id("demo", event_id), event_id=event_id)
    consumer = AIOKafkaConsumer(
        topics.category_explained_topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    async with consumer, AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topics.explanation_requested_topic, value=encode(request))
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    answer = CategoryExplained.model_validate_json(record.value)
                    if answer.request_id == request.request_id:
                        return answer
    return None


async def _read_until_answered(
    state: _Round,
    consumer: AIOKafkaConsumer,
    publishing: asyncio.Task[None],
    patience_seconds: float,
    check: Callable[[], None],
) -> None:
    last_output = time.monotonic()
    while not publishing.done() or state.tally.num_answered < state.tally.num_published:
        check()
        batches = await consumer.getmany(timeout_ms=200)
        for records in batches.values():
            state.take_all(records)
        if batches or not publishing.done():
            last_output = time.monotonic()
        if publishing.done():
            publishing.result()
        if time.monotonic() - last_output > patience_seconds:
            return
    for records in (await consumer.getmany(timeout_ms=SETTLING_MS)).values():
        state.take_all(records)
