"""The lane of corrections: what people say is put beside what was assigned, and counted."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from schemas.corrections import CategoryCorrected
from stream_app.assignment_index import Assigned
from stream_app.batching import Batch, BatchSettings
from stream_app.corrections import CorrectionOutcome, RollingAccuracy, verdict
from stream_app.dead_letters import dead_letters
from stream_app.decoding import Messages, decode_each
from stream_app.lanes import Lane, Turn
from stream_app.metric_labels import MAX_CATEGORIES, LaneKind, PipelineStep
from stream_app.pipeline import Collaborators
from stream_app.recent_listings import RecentListings
from stream_app.settings import Settings

BATCHES = BatchSettings(max_batch=256, max_delay_ms=200.0, max_buffered_bytes=4 * 2**20, max_in_flight=1)


class CorrectionLane(Lane):
    """Compares the corrections of one topic with the assignments they are about, one batch at a time.

    Args:
        settings: limits, the window of corrections and topic names.
        parts: what it works with.
        listings: finds the assignments.
        on_room: called when more records may be fetched.
        clock: seconds on a clock that never goes back.
    """

    kind = LaneKind.CORRECTIONS

    def __init__(
        self,
        settings: Settings,
        parts: Collaborators,
        listings: RecentListings,
        *,
        on_room: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            BATCHES,
            parts.ledger,
            _Unshown(),
            drain_seconds=settings.drain_seconds,
            on_room=on_room,
            clock=clock,
        )
        self._settings = settings
        self._parts = parts
        self._listings = listings
        self._accuracy = RollingAccuracy(settings.corrections_per_category)

    def close(self) -> None:
        """Nothing is held."""

    def within(self, batch: Batch) -> AbstractContextManager[None]:
        """The span of the batch."""
        return self._parts.tracing.batch(self._settings.category_corrected_topic, batch.records)

    async def work(self, batch: Batch, turn: Turn) -> None:
        """Count a batch; what is no correction leaves as a dead letter."""
        settings = self._settings
        messages = await asyncio.to_thread(
            decode_each, CategoryCorrected, batch.records, max_bytes=settings.max_message_bytes
        )
        corrections = [correction for _, correction in messages.read]
        with self._parts.stage(PipelineStep.CORRECT):
            assigned = await self._listings.patiently(
                lambda: self._listings.assigned(corrections),
                seconds=settings.publish_timeout_seconds,
                on_retry=lambda: self._parts.metrics.retried(PipelineStep.CORRECT),
            )
        letters = dead_letters(
            messages.rejected, topic=settings.dead_letter_topic, max_bytes=settings.publish_batch_bytes
        )
        await turn.come()
        confirmations = await self._parts.publisher.send(letters)
        turn.is_over()
        await self._parts.publisher.confirm(confirmations)
        self._count(messages, assigned)

    def _count(self, messages: Messages[CategoryCorrected], assigned: Sequence[Assigned | None]) -> None:
        metrics = self._parts.metrics
        verdicts = [
            verdict(correction, each) for (_, correction), each in zip(messages.read, assigned, strict=True)
        ]
        for each in verdicts:
            metrics.corrected(each.outcome)
        metrics.corrected(CorrectionOutcome.WITHDRAWN, messages.num_tombstones)
        codes = self._parts.inference.serving.classifier.labels.codes[:MAX_CATEGORIES]
        self._accuracy.add(verdicts, codes)
        metrics.corrected_accuracy(self._accuracy.ratios())
        self._parts.dead_lettered(messages.rejected)


class _Unshown:
    """Shows nothing of what the lane holds: its lag and the age of its oldest record tell enough."""

    def queue_depth(self, num_records: int, num_bytes: int) -> None:
        """Show nothing."""

    def queue_waits(self, seconds: NDArray[np.float64]) -> None:
        """Show nothing."""

    def batches_in_flight(self, num_batches: int) -> None:
        """Show nothing."""
