"""Listings that were answered once, scored again by another version beside the workers.

The same lane, model and publisher as a worker's, with a consumer that belongs to no group's members: what is
read is given, up to an end, and what is done is committed under a group of the backfill's own.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from schemas.dead_letters import Reason, Stage
from stream_app.acknowledgement import OffsetLedger, Span, TopicPartition
from stream_app.acls import Needs
from stream_app.backfill_planning import BackfillPlan, BackfillProgress
from stream_app.batching import Batch, Fetched
from stream_app.catalogue_publishing import DeliveryError
from stream_app.codecs import require_codecs
from stream_app.drift import DriftWatch
from stream_app.duty_cycle import DutyCycle
from stream_app.garbage import spare_what_is_loaded
from stream_app.image_fetching import ImageFetcher
from stream_app.inference import Inference, LoadedVersion
from stream_app.lanes import Turn
from stream_app.metrics import ServiceMetrics
from stream_app.pipeline import Collaborators, ListingLane
from stream_app.publishing import Confirmation, Outgoing, Publisher
from stream_app.record_batches import read_any_batch
from stream_app.settings import LaneSettings, Settings
from stream_app.topic_ids import commit_metadata
from stream_app.topic_reading import ANSWER_SECONDS, fetches
from stream_app.topics import ensure_topics

__all__ = ["run_backfill"]

logger = logging.getLogger(__name__)

GENERATION = 0
"""The only one: nobody takes partitions away."""
STOP_SECONDS = 5.0
TELL_SECONDS = 30.0


class CountingMetrics(ServiceMetrics):
    """Counts for the report what a worker only exposes."""

    def __init__(self, progress: BackfillProgress) -> None:
        super().__init__()
        self._progress = progress

    def assigned(self, num_events: int = 1) -> None:
        """Count categories whose delivery the broker confirmed."""
        super().assigned(num_events)
        self._progress.num_assigned += num_events

    def delistings(self, num_records: int = 1) -> None:
        """Count tombstones."""
        super().delistings(num_records)
        self._progress.num_skipped += num_records

    def dead_lettered(self, stage: Stage, reason: Reason, num_records: int = 1) -> None:
        """Count records that have no answer."""
        super().dead_lettered(stage, reason, num_records)
        self._progress.rejected[reason] += num_records


class WatchedLedger(OffsetLedger):
    """A ledger that tells when something is done."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = asyncio.Event()

    def done(self, spans: Iterable[Span]) -> None:
        """Note that everything the spans cause is confirmed."""
        super().done(spans)
        self.moved.set()


class ChosenTopicsPublisher(Publisher):
    """Writes to some topics, and lets go what is for others: it was written the first time."""

    def __init__(
        self, settings: LaneSettings, connection: Mapping[str, object], topics: Collection[str]
    ) -> None:
        super().__init__(settings, connection)
        self._topics = topics

    async def send(self, records: Sequence[Outgoing]) -> list[Confirmation]:
        """Hand the records of the chosen topics to the producer."""
        return await super().send([record for record in records if record.topic in self._topics])


class RestingLane(ListingLane):
    """A lane of listings that works on one batch at a time and rests between two."""

    def __init__(
        self, settings: LaneSettings, parts: Collaborators, cycle: DutyCycle, *, on_room: Callable[[], None]
    ) -> None:
        super().__init__(settings.model_copy(update={"max_in_flight": 1}), parts, on_room=on_room)
        self._cycle = cycle
        self._draining = asyncio.Event()

    async def work(self, batch: Batch, turn: Turn) -> None:
        """Rest, then classify a batch."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), self._cycle.wait(self._clock()))
        began = self._clock()
        await super().work(batch, turn)
        self._cycle.worked(len(batch.records), began, self._clock())

    async def drain(self, generation: int) -> None:
        """Drop what waits and finish what is begun, without rest."""
        self._draining.set()
        await super().drain(generation)


async def run_backfill(
    settings: Settings, plan: BackfillPlan, progress: BackfillProgress, stopping: asyncio.Event
) -> None:
    """Score what is planned, or until it is told to stop; what is in flight then is finished.

    Args:
        settings: of a worker.
        plan: what is to be read; its consumer is used.
        progress: is kept up to date, also when this raises.
        stopping: set from outside.

    Raises:
        models.errors.ModelError: the model cannot be had.
        TopicError: a topic cannot be created.
        AccessError: the brokers do not allow what it needs.
        FatalError: answers can no longer be written, or the device is lost.
        DeliveryError: the brokers stopped answering.
    """
    options = plan.options
    require_codecs()
    read_any_batch(settings.max_unpacked_bytes)
    chosen = settings.model_copy(
        update={
            "category_assigned_topic": options.output_topic,
            "dead_letter_topic": options.dead_letter_topic or settings.dead_letter_topic,
            "topic_partitions": plan.num_partitions,
            "max_batch": min(settings.max_batch, math.ceil(options.per_second or settings.max_batch)),
        }
    )
    async with AsyncExitStack() as owned:
        loaded = await asyncio.to_thread(
            LoadedVersion.load, options.model, chosen, max_batch=chosen.max_batch
        )
        inference = Inference(loaded)
        owned.callback(inference.stop)
        await ensure_topics(chosen, plan.stretch.arguments, Needs.of(writes=options.written_topics))
        publisher = ChosenTopicsPublisher(chosen, plan.stretch.arguments, options.written_topics)
        owned.push_async_callback(publisher.stop, seconds=STOP_SECONDS)
        await publisher.start()
        pictures = await owned.enter_async_context(ImageFetcher(chosen))
        run = _Run(plan, progress)
        metrics, drift = CountingMetrics(progress), DriftWatch(chosen.drift_window_events)
        parts = Collaborators(run.ledger, inference, publisher, pictures, metrics, drift)
        cycle = DutyCycle(options.share, options.per_second)
        lane = RestingLane(chosen, parts, cycle, on_room=run.room.set)
        owned.callback(lane.close)
        owned.enter_context(spare_what_is_loaded())
        await run.go(lane, stopping, chosen.commit_interval_seconds)


class _Run:
    def __init__(self, plan: BackfillPlan, progress: BackfillProgress) -> None:
        self.ledger = WatchedLedger()
        self.room = asyncio.Event()
        self._stretch = plan.stretch
        self._progress = progress
        self._given: dict[KafkaPartition, int] = dict(plan.stretch.starts)
        self._everything_is_given = False
        self._committed: dict[KafkaPartition, int] = {}

    async def go(self, lane: RestingLane, stopping: asyncio.Event, commit_seconds: float) -> None:
        # Committed before anything is done: a run that is killed early goes on from the same listings, though
        # a time such as 7d means later ones by then.
        await self._commit(ANSWER_SECONDS)
        works = [
            asyncio.create_task(each)
            for each in (lane.run(), self._remember(commit_seconds), self._feed(lane), stopping.wait())
        ]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            works[2].cancel()
            if not works[0].done():
                await lane.drain(GENERATION)
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)
            await self._commit(STOP_SECONDS)
        for work in works:
            if not work.cancelled():
                work.result()

    async def _feed(self, lane: RestingLane) -> None:
        """Give the lane everything, then wait until it is done."""
        found = fetches(self._stretch)
        async with aclosing(found):
            async for records in found:
                while not lane.has_room:
                    self.room.clear()
                    await self.room.wait()
                partition = KafkaPartition(records[0].topic, records[0].partition)
                lane.add(Fetched(TopicPartition(*partition), GENERATION, tuple(records)))
                self._given[partition] = records[-1].offset + 1
        self._everything_is_given = True
        while any(self._position(partition) < end for partition, end in self._stretch.ends.items()):
            self.ledger.moved.clear()
            await self.ledger.moved.wait()

    async def _remember(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        told_at = clock()
        while True:
            await asyncio.sleep(seconds)
            await self._commit(ANSWER_SECONDS)
            if clock() - told_at > TELL_SECONDS:
                told_at = clock()
                logger.info("%d of %d offsets are done", self._progress.num_done, self._progress.num_offsets)

    async def _commit(self, seconds: float) -> None:
        """Commit what is done since the last time.

        Raises:
            DeliveryError: the brokers refuse it or do not answer within so many seconds.
        """
        stretch = self._stretch
        positions = {partition: self._position(partition) for partition in stretch.starts}
        told = commit_metadata(stretch.topic_id)
        places = {
            partition: OffsetAndMetadata(position, told)
            for partition, position in positions.items()
            if self._committed.get(partition) != position
        }
        if not places:
            return
        try:
            async with asyncio.timeout(seconds):
                await stretch.consumer.commit(places)
        except (KafkaError, TimeoutError) as error:
            raise DeliveryError(
                f"{stretch.broker} does not take what was done last ({error!r}); the next run scores it again"
            ) from error
        self._committed = positions
        self._progress.num_done = sum(positions.values()) - sum(stretch.starts.values())
        self._progress.on_change()

    def _position(self, partition: KafkaPartition) -> int:
        """Up to where everything is done; at the end also behind what compaction and transactions left."""
        start = self._stretch.starts[partition]
        done = self.ledger.committable(TopicPartition(*partition))
        position = start if done is None else done
        is_all = self._everything_is_given and position == self._given[partition]
        return self._stretch.ends[partition] if is_all else position
