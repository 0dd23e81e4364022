"""Listings read again from Kafka, at the place that a category or dead letter names: none is kept here."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from aiokafka.errors import KafkaError

from schemas.assignments import CategoryAssigned
from schemas.codec import decode
from schemas.dead_letters import Failure
from schemas.errors import MessageError
from schemas.products import ProductListed
from stream_app.edge.problems import ProblemError
from stream_app.edge.results import Kind, Result, Results, Subject
from stream_app.places import Place, read_place
from stream_app.recent_listings import RecentListings, listing_of
from stream_app.topics import TopicSettings

__all__ = ["Listings"]

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 64 * 2**20


class Listings:
    """Finds the listings of events that have a result.

    Args:
        topics: their names; listings are read from one of them only, whatever a result says.
        connection: aiokafka arguments.
        results: where the places are.
        partitions_of: tells the partitions of a topic.
    """

    def __init__(
        self,
        topics: TopicSettings,
        connection: Mapping[str, Any],
        results: Results,
        *,
        partitions_of: Callable[[str], Awaitable[Collection[int]]],
    ) -> None:
        self._topic = topics.product_listed_topic
        self._results = results
        self._recent = RecentListings(
            topics.category_assigned_topic, 0, connection, partitions_of=partitions_of
        )

    async def find(self, event_id: str) -> ProductListed:
        """The listing of an event.

        Raises:
            ProblemError: 404 where it is not known, or no longer kept; 503 where the brokers do not answer.
        """
        result = self._results.get(Subject(Kind.LISTING, event_id))
        place = None if result is None else _place(result)
        if place is None or place[0] != self._topic:
            raise _unknown(event_id)
        try:
            found = await self._recent.find({event_id: place})
        except (KafkaError, TimeoutError) as error:
            logger.warning("a listing cannot be read again: %r", error)
            await self._recent.stop()
            raise ProblemError(503, "unavailable", "the brokers do not answer; come again") from error
        try:
            return listing_of(event_id, found, max_bytes=MAX_BYTES)
        except MessageError as error:
            raise _unknown(event_id) from error

    async def stop(self) -> None:
        """Disconnect."""
        await self._recent.stop()


def _place(result: Result) -> Place | None:
    if isinstance(result.outcome, Failure):
        return read_place(result.outcome.source)
    source = decode(CategoryAssigned, result.outcome, default_event_id="unknown").source
    return None if source is None else (source.topic, source.partition, source.offset)


def _unknown(event_id: str) -> ProblemError:
    return ProblemError(
        404, "not-found", f"the listing of event {event_id[:80]!r} is not known here, or no longer kept"
    )
