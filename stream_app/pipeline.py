"""One lane, from records to acknowledgement.

Batches are formed from what the agent hands in and worked on with a few in flight. Results are published so
that those of one product keep their order, and the spans of a batch are marked done in the ledger when the
brokers have confirmed everything they caused. Decoding, preparing and inference happen in threads; the loop
only moves things along.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Protocol, TypeVar

from models.runtime import Classifier
from stream_app.acknowledgement import OffsetLedger
from stream_app.assigning import explanation_requests, outgoing
from stream_app.batching import Batch
from stream_app.cascading import texts_of, without_certain_pictures
from stream_app.dead_letters import dead_letters, failure_of
from stream_app.drift import DriftWatch
from stream_app.inference import Inference, LoadedVersion
from stream_app.lanes import Lane, Turn, all_of
from stream_app.metric_labels import LaneKind, PipelineStep
from stream_app.metrics import ServiceMetrics
from stream_app.overtaking import Overtaking, Part
from stream_app.preparing import Picture, decode_records, picture_urls, prepare_listings
from stream_app.publishing import Outgoing, Publisher
from stream_app.settings import LaneSettings
from stream_app.stages import Decoded, Prepared, Rejected, Scored, named
from stream_app.tracing import NO_SPANS, Tracing

logger = logging.getLogger(__name__)

T = TypeVar("T")


class FetchesPictures(Protocol):
    """Where pictures behind an address come from."""

    async def fetch_all(self, urls: Iterable[str]) -> Mapping[str, Picture]:
        """By address, the bytes of the file or the reason why it cannot be had."""


OnPublished = Callable[[Scored, Mapping[str, Picture]], None]
"""Told of listings whose categories are published, with the pictures that were fetched for them; at once."""


@dataclass(frozen=True)
class Collaborators:
    """What a lane works with; built and owned by the service."""

    ledger: OffsetLedger
    inference: Inference
    publisher: Publisher
    pictures: FetchesPictures
    metrics: ServiceMetrics
    drift: DriftWatch
    on_published: OnPublished = lambda _scored, _pictures: None
    tracing: Tracing = NO_SPANS

    @contextmanager
    def stage(self, step: PipelineStep) -> Iterator[None]:
        """Time a stage of a batch, and record it in the trace of the batch."""
        with self.metrics.stage(step), self.tracing.stage(step):
            yield

    def dead_lettered(self, rejected: Iterable[Rejected]) -> None:
        """Count records whose dead letters the brokers have, and log each."""
        for each in rejected:
            failure = failure_of(each)
            self.metrics.dead_lettered(failure.stage, failure.reason)
            told = named(each.record, each.event_id)
            logger.info("dead letter: %s, %s", failure.stage, failure.reason, extra=told)


class ListingLane(Lane):
    """Classifies the listings of one topic.

    Args:
        settings: batch sizes, limits and topic names.
        parts: what it works with.
        on_room: called when more records may be fetched.
        clock: seconds on a clock that never goes back.
    """

    kind = LaneKind.LISTINGS

    def __init__(
        self,
        settings: LaneSettings,
        parts: Collaborators,
        *,
        on_room: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            settings,
            parts.ledger,
            parts.metrics,
            drain_seconds=settings.drain_seconds,
            on_room=on_room,
            clock=clock,
        )
        self._settings = settings
        self._parts = parts
        self._overtaking = Overtaking()
        # Twice as many as batches: those without pictures find one while all pictures are waited for.
        self._threads = ThreadPoolExecutor(2 * settings.max_in_flight, thread_name_prefix="prepare")
        self._picture_threads = ThreadPoolExecutor(settings.prepare_threads, thread_name_prefix="pictures")

    def close(self) -> None:
        """Let the threads go; nothing may be running."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._picture_threads.shutdown(wait=False, cancel_futures=True)

    def within(self, batch: Batch) -> AbstractContextManager[None]:
        """The span of the batch."""
        return self._parts.tracing.batch(self._settings.product_listed_topic, batch.records)

    async def work(self, batch: Batch, turn: Turn) -> None:
        """Classify a batch; every record leaves as a category or as a dead letter."""
        version = self._parts.inference.serving
        decoded, prepared = await self._in_thread(lambda: self._read(batch, version.classifier))
        decoded = await self._skip_pictures(decoded, version)
        await turn.come()
        parts = self._overtaking.split(decoded)
        turn.is_over()
        await all_of(*(self._classify(part, prepared, version) for part in parts))

    async def _classify(self, part: Part, prepared: Prepared | None, version: LoadedVersion) -> None:
        """Do everything for a part of a batch; it may be prepared already when it is all of the batch."""
        pictures: Mapping[str, Picture] = {}
        if prepared is None:
            pictures = await self._fetch_pictures(part.decoded)
            prepared = await self._in_thread(
                lambda: self._prepare(part.decoded, version.classifier, pictures)
            )
        scored = await self._score(prepared, version)
        records = await self._in_thread(lambda: self._outgoing(scored, version.classifier))
        await part.turn.come()
        with self._parts.stage(PipelineStep.PUBLISH):
            confirmations = await self._parts.publisher.send(records)
            part.turn.is_over()
            await self._parts.publisher.confirm(confirmations)
        self._count(part.decoded, scored, version)
        self._parts.on_published(scored, pictures)

    def _read(self, batch: Batch, classifier: Classifier) -> tuple[Decoded, Prepared | None]:
        """The batch, prepared too if it has no pictures and so needs nothing more for that."""
        with self._parts.stage(PipelineStep.DECODE):
            decoded = decode_records(batch.records, max_bytes=self._settings.max_message_bytes)
        has_pictures = any(listing.product.image is not None for listing in decoded.listings)
        return decoded, None if has_pictures else self._prepare(decoded, classifier, {})

    async def _skip_pictures(self, decoded: Decoded, version: LoadedVersion) -> Decoded:
        """The batch, without pictures of listings whose text is certain where there is a cascade."""
        if version.cascade is None or not (texts := texts_of(decoded)).listings:
            return decoded
        with self._parts.stage(PipelineStep.CASCADE):
            prepared = await self._in_thread(lambda: prepare_listings(texts, version.classifier, {}))
            scored = await self._parts.inference.score(prepared, version)
        return without_certain_pictures(decoded, scored, version.cascade)

    async def _fetch_pictures(self, decoded: Decoded) -> Mapping[str, Picture]:
        if not (urls := picture_urls(decoded)):
            return {}
        with self._parts.stage(PipelineStep.FETCH_IMAGES):
            return await self._parts.pictures.fetch_all(urls)

    def _prepare(self, decoded: Decoded, classifier: Classifier, pictures: Mapping[str, Picture]) -> Prepared:
        with self._parts.stage(PipelineStep.PREPARE):
            return prepare_listings(decoded, classifier, pictures, self._picture_threads)

    async def _score(self, prepared: Prepared, version: LoadedVersion) -> Scored:
        with self._parts.stage(PipelineStep.INFERENCE):
            scored = await self._parts.inference.score(prepared, version)
        if scored.listings:
            self._parts.metrics.batch_scored(len(scored.listings))
        return scored

    def _outgoing(self, scored: Scored, classifier: Classifier) -> list[Outgoing]:
        self._parts.drift.add(scored, classifier.snapshot)
        settings, tracing = self._settings, self._parts.tracing
        records = outgoing(
            scored, topic=settings.category_assigned_topic, source=settings.event_source, tracing=tracing
        )
        questions = explanation_requests(
            scored,
            topic=settings.explanation_requested_topic,
            source=settings.event_source,
            tracing=tracing,
        )
        letters = dead_letters(
            scored.rejected, topic=settings.dead_letter_topic, max_bytes=settings.publish_batch_bytes
        )
        return [*records, *questions, *letters]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)

    def _count(self, decoded: Decoded, scored: Scored, version: LoadedVersion) -> None:
        metrics = self._parts.metrics
        metrics.listings_consumed(len(decoded.listings) + len(decoded.rejected))
        metrics.delistings(decoded.num_delistings)
        metrics.assigned(len(scored.listings))
        if scored.scores is not None:
            chances = scored.scores.probabilities_BC
            metrics.categorised(scored.labels.codes, chances.argmax(axis=1), chances.max(axis=1))
        self._count_pictures(scored, version)
        now_ms = time.time() * 1000
        metrics.latencies([(now_ms - listing.record.timestamp) / 1000 for listing in scored.listings])
        self._parts.dead_lettered(scored.rejected)

    def _count_pictures(self, scored: Scored, version: LoadedVersion) -> None:
        if scored.inputs is None:
            return
        if version.cascade is not None:
            self._parts.metrics.pictures_skipped(sum(each.picture_skipped for each in scored.listings))
        if num_used := len(scored.inputs.image_rows_N):
            self._parts.metrics.picture(None, num_used)
        for listing, reason in zip(scored.listings, scored.inputs.image_reasons, strict=True):
            if reason is not None:
                self._parts.metrics.picture(reason)
                if logger.isEnabledFor(logging.DEBUG):
                    told = named(listing.record, listing.product.event_id)
                    logger.debug("no picture: %s", reason, extra=told)
