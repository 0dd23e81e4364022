"""Whole fetches for Faust agents: the one module that reaches into Faust's private names.

Faust delivers event by event, which costs twenty times what the rest of the stream does, and its
bookkeeping of acknowledged offsets loses events (a commit may pass an unfinished event; with nothing
committed yet gaps are not seen). Here a consumer puts one :class:`~stream_app.batching.Fetched` for each
partition of a fetch into the agent's channel. Faust's ``Stream`` hands any object that is not an ``Event``
to the agent as it is, untracked, and commits are answered from an
:class:`~stream_app.acknowledgement.OffsetLedger`. Group membership, rebalancing, the commit timer and
shutdown stay Faust's.

``tests/unit/stream_app/test_fetching.py`` fails when a private name used here changes; faust-streaming is
pinned.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, cast

import faust
from faust.exceptions import ConsumerNotStarted
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream_app.acknowledgement import OffsetLedger, TopicPartition
from stream_app.batching import Fetched, Record

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_SECONDS = 1.0
DEFAULT_MAX_PREFETCH_BYTES = 16 * 2**20


class Intake(Protocol):
    """What the consumer asks of the side that works on the records of one topic."""

    @property
    def has_room(self) -> bool:
        """Whether more records should be fetched now."""

    async def drain(self, generation: int) -> None:
        """Drop what waits and finish what is begun, within a bound; the generation is over."""


class Flow:
    """The seam between Faust's consumer and the service: a ledger, and an intake for each topic.

    ``room_changed`` is set whenever an intake gets room again, ``on_commit`` told how each commit ended.
    """

    def __init__(
        self,
        ledger: OffsetLedger,
        *,
        on_commit: Callable[[bool], None],
        max_prefetch_bytes: int = DEFAULT_MAX_PREFETCH_BYTES,
    ) -> None:
        self.ledger = ledger
        self.max_prefetch_bytes = max_prefetch_bytes
        self.on_commit = on_commit
        self.intakes: dict[str, Intake] = {}
        self.room_changed = asyncio.Event()
        self.last_fetch_at: dict[TopicPartition, float] = {}

    def topics_with_room(self) -> set[str]:
        """Topics that may be fetched from now."""
        return {topic for topic, intake in self.intakes.items() if intake.has_room}

    async def drain(self, generation: int) -> None:
        """Drain every intake."""
        await asyncio.gather(*(intake.drain(generation) for intake in self.intakes.values()))


def prefetch_share(max_fetch_bytes: int, max_prefetch_bytes: int, num_partitions: int) -> int:
    """Most bytes to ask of one partition at a time, so that all partitions together stay within the bound.

    aiokafka keeps one response for every assigned partition until it is asked for, also for those that are
    not read from now; a single record batch that is larger than its share comes all the same (KIP-74).
    """
    return max(1, min(max_fetch_bytes, max_prefetch_bytes // max(1, num_partitions)))


class BoundedConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer, with a bound on what that fetches ahead."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_bytes = self._flow.max_prefetch_bytes  # noqa: SLF001
        return consumer

    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Share the bound among the partitions, then do what Faust does."""
        consumer = self._ensure_consumer()
        consumer._fetcher._max_partition_fetch_bytes = prefetch_share(  # noqa: SLF001
            self.app.conf.consumer_max_fetch_size, self._flow.max_prefetch_bytes, len(assigned)
        )
        await super().on_partitions_assigned(assigned, generation_id)

    @property
    def _flow(self) -> Flow:
        return cast("WholeFetchApp", self.app).flow


class WholeFetchConsumer(driver.Consumer):
    """A Faust consumer that hands over fetches whole and commits what the ledger says."""

    def _new_consumer_thread(self) -> BoundedConsumerThread:
        return BoundedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def flow(self) -> Flow:
        """The flow of the app this consumer belongs to."""
        return cast("WholeFetchApp", self.app).flow

    async def _drain_messages(self, fetcher: Any) -> None:
        """The fetch loop (Faust's ``Fetcher`` runs it as a task of its own)."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._fetch_once()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _fetch_once(self) -> None:
        if not self._flows():
            await self.wait(self.can_resume_flow.wait())
            return
        partitions = await self._wait_for_room()
        if not partitions:
            return
        generation = self.app.consumer_generation_id
        records = await self._getmany(partitions, FETCH_TIMEOUT_SECONDS)
        if not records:
            await asyncio.sleep(0)
        elif generation != self.app.consumer_generation_id:
            logger.info("dropped a fetch of generation %s: the group has rebalanced", generation)
        elif not self._flows():
            await self._seek_back()
        else:
            for partition, fetched in records.items():
                self._deliver(TopicPartition(*partition), generation, fetched)

    def _flows(self) -> bool:
        """Whether records may be handed out; a rebalance or a stop ends that during any await."""
        return self.flow_active

    async def _wait_for_room(self) -> set[Any]:
        """The partitions to fetch from; waits up to the fetch timeout until there is one."""
        self.flow.room_changed.clear()
        partitions = self._partitions_with_room()
        if not partitions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.flow.room_changed.wait(), FETCH_TIMEOUT_SECONDS)
            partitions = self._partitions_with_room()
        return partitions

    def _partitions_with_room(self) -> set[Any]:
        topics = self.flow.topics_with_room()
        return {partition for partition in self._get_active_partitions() if partition.topic in topics}

    async def _seek_back(self) -> None:
        # The fetch position has moved past records that nobody will get: go back to what is committed.
        try:
            await self.perform_seek()
        except Exception as error:
            logger.warning("could not seek back to the committed offsets: %s", error)

    def _deliver(self, partition: TopicPartition, generation: int, records: Iterable[Record]) -> None:
        fetched = Fetched(partition, generation, tuple(records))
        self.flow.last_fetch_at[partition] = time.monotonic()
        for channel in cast(Conductor, self.app.topics)._topic_name_index[partition.topic]:  # noqa: SLF001
            channel.queue.force_put_nowait(fetched)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[Any]:
        return (
            TP(*partition)
            for partition in self.flow.ledger.partitions()
            if topics is None or partition in topics or partition.topic in topics
        )

    def _new_offset(self, tp: Any) -> int | None:
        return self.flow.ledger.committable(tp)

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        committed: bool = await super()._commit(offsets)
        self.flow.on_commit(committed)
        return committed

    async def wait_empty(self) -> None:
        """Finish what is begun, commit it, and refuse everything of this generation from then on."""
        generation = self.app.consumer_generation_id
        await self.flow.drain(generation)
        await self.commit_and_end_transactions()
        self.flow.ledger.close(generation)


class WholeFetchTransport(driver.Transport):
    """Faust's aiokafka transport with :class:`WholeFetchConsumer`."""

    Consumer = WholeFetchConsumer


class WholeFetchApp(faust.App):
    """A Faust app whose agents receive ``Fetched`` objects, with hooks around its life.

    ``before_start`` runs before the consumer joins its group, ``after_stop`` after the last commit.
    """

    flow: Flow
    before_start: Callable[[], Awaitable[None]] | None = None
    after_stop: Callable[[], Awaitable[None]] | None = None

    def _new_transport(self) -> WholeFetchTransport:
        return WholeFetchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Nothing is kept on disk: the worker runs on a read-only file system."""

    async def on_start(self) -> None:
        """Start the service's own parts first, so that no partition is assigned to a cold worker."""
        await super().on_start()
        if self.before_start is not None:
            await self.before_start()

    async def on_shutdown(self) -> None:
        """Stop the service's own parts last: the consumer drains through them."""
        await super().on_shutdown()
        if self.after_stop is not None:
            await self.after_stop()


def assigned_partitions(app: WholeFetchApp) -> set[TopicPartition]:
    """Partitions assigned to this worker now; empty before the group is joined. No I/O."""
    try:
        return {TopicPartition(*partition) for partition in app.consumer.assignment()}
    except ConsumerNotStarted:
        return set()


def group_is_joined(app: WholeFetchApp) -> bool:
    """Whether the consumer group has given this worker an assignment, empty or not. No I/O."""
    return bool(app.consumer_generation_id) and app.consumer_generation_id > 0 and not app.rebalancing


def connection(app: WholeFetchApp) -> Mapping[str, Any]:
    """The aiokafka arguments for the brokers and credentials that Faust was given: one place for them."""
    return {
        "bootstrap_servers": driver.server_list(app.transport.url, driver.Transport.default_port),
        **driver.credentials_to_aiokafka_auth(app.conf.broker_credentials, app.conf.ssl_context),
    }
