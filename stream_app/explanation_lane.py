"""The lane of explanations: beside that of listings, with a queue, a thread and limits of its own."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import TypeVar

from stream_app.batching import Batch, BatchSettings, Record
from stream_app.dead_letters import dead_letters
from stream_app.explanation_requests import (
    Answered,
    Request,
    answer,
    decode_questions,
    outgoing_answers,
    with_listings,
)
from stream_app.lanes import Lane, Turn
from stream_app.metric_labels import LaneKind, PipelineStep
from stream_app.pipeline import Collaborators
from stream_app.places import Place
from stream_app.preparing import Picture
from stream_app.publishing import Outgoing
from stream_app.recent_listings import RecentListings
from stream_app.settings import Settings
from stream_app.stages import Rejected

T = TypeVar("T")


class ExplanationLane(Lane):
    """Answers the requests of one topic, one batch at a time.

    Args:
        settings: batch sizes, limits and topic names.
        parts: what it works with.
        listings: finds the listings of events.
        on_room: called when more records may be fetched.
        clock: seconds on a clock that never goes back.
    """

    kind = LaneKind.EXPLANATIONS

    def __init__(
        self,
        settings: Settings,
        parts: Collaborators,
        listings: RecentListings,
        *,
        on_room: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        batches = BatchSettings(
            max_batch=settings.explain_max_batch,
            max_delay_ms=settings.explain_max_delay_ms,
            max_buffered_bytes=settings.explain_max_buffered_bytes,
            max_in_flight=1,
        )
        super().__init__(
            batches,
            parts.ledger,
            parts.metrics.explanation_gauges,
            drain_seconds=settings.drain_seconds,
            on_room=on_room,
            clock=clock,
        )
        self._settings = settings
        self._parts = parts
        self._listings = listings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explain")

    def close(self) -> None:
        """Let the thread go; nothing may be running."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def within(self, batch: Batch) -> AbstractContextManager[None]:
        """The span of the batch."""
        return self._parts.tracing.batch(self._settings.explanation_requested_topic, batch.records)

    async def work(self, batch: Batch, turn: Turn) -> None:
        """Answer a batch; every request leaves as an explanation or as a dead letter."""
        max_bytes = self._settings.max_message_bytes
        questions = await self._in_thread(lambda: decode_questions(batch.records, max_bytes=max_bytes))
        found = await self._find(questions.events(self._settings.product_listed_topic))
        requests, rejected = await self._in_thread(
            lambda: with_listings(questions, found, max_bytes=max_bytes)
        )
        pictures = await self._fetch_pictures(requests)
        with self._parts.stage(PipelineStep.EXPLAIN):
            answered = await self._in_thread(lambda: self._answer(requests, rejected, pictures))
        records, rejected = await self._in_thread(lambda: self._outgoing(answered))
        await turn.come()
        confirmations = await self._parts.publisher.send(records)
        turn.is_over()
        await self._parts.publisher.confirm(confirmations)
        self._count(answered, rejected)

    async def _find(self, events: Mapping[str, Place | None]) -> dict[str, Record]:
        """The listings of events; brokers that are away are waited for, as long as when publishing."""
        return await self._listings.patiently(
            lambda: self._listings.find(events),
            seconds=self._settings.publish_timeout_seconds,
            on_retry=lambda: self._parts.metrics.retried(PipelineStep.EXPLAIN),
        )

    def _answer(
        self, requests: list[Request], rejected: list[Rejected], pictures: Mapping[str, Picture]
    ) -> Answered:
        return answer(
            requests,
            rejected,
            self._parts.inference.serving.explainer,
            pictures,
            max_evaluations=self._settings.explain_max_evaluations,
            goes_on=self.goes_on,
        )

    async def _fetch_pictures(self, requests: list[Request]) -> Mapping[str, Picture]:
        images = (request.listing.image for request in requests)
        return await self._parts.pictures.fetch_all(
            image.url for image in images if image is not None and image.url is not None
        )

    def _outgoing(self, answered: Answered) -> tuple[list[Outgoing], list[Rejected]]:
        settings = self._settings
        records, too_large = outgoing_answers(
            answered,
            topic=settings.category_explained_topic,
            source=settings.event_source,
            max_bytes=settings.publish_batch_bytes,
            tracing=self._parts.tracing,
        )
        rejected = [*answered.rejected, *too_large]
        letters = dead_letters(
            rejected, topic=settings.dead_letter_topic, max_bytes=settings.publish_batch_bytes
        )
        return [*records, *letters], rejected

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, work)

    def _count(self, answered: Answered, rejected: list[Rejected]) -> None:
        now_ms = time.time() * 1000
        ages = [(now_ms - record.timestamp) / 1000 for record, _ in answered.answers]
        self._parts.metrics.explained(ages, min(answered.num_computed, len(ages)))
        self._parts.dead_lettered(rejected)
