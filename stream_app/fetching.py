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
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import faust
from aiokafka import OffsetAndMetadata
from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials
from faust.exceptions import ConsumerNotStarted
from faust.tables import TableManager
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.auth import CredentialsT

from stream_app.acknowledgement import OffsetLedger, TopicPartition
from stream_app.batching import Fetched, Record
from stream_app.topic_ids import commit_metadata, is_of_another_topic, topic_ids

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_SECONDS = 1.0
ROOM_POLL_SECONDS = 0.05
"""The same while a topic has no room: what is asked of the others cannot be called off when it gets some."""
FETCH_MAX_WAIT_MS = 100
"""How long a broker may hold a fetch for which it has no record.

aiokafka leaves partitions out of a fetch whose records are not taken yet and sends a node no second fetch
meanwhile: one that asks for nothing but empty partitions keeps everything else on that node waiting.
"""
DEFAULT_MAX_PREFETCH_BYTES = 16 * 2**20


class Intake(Protocol):
    """What the consumer asks of the side that works on the records of one topic."""

    @property
    def has_room(self) -> bool:
        """Whether more records should be fetched now."""

    async def drain(self, generation: int) -> None:
        """Drop what waits and finish what is begun, within a bound; the generation is over."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Offsets of a partition that the consumer has given away in one generation: ``first`` up to ``next``."""

    generation: int
    first: int
    next: int


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
        self.handed_over: dict[TopicPartition, HandedOver] = {}
        self.topic_ids: Mapping[str, str] = {}
        """Which topics the first positions were of, as far as brokers tell."""

    def topics_with_room(self) -> set[str]:
        """Topics that may be fetched from now."""
        return {topic for topic, intake in self.intakes.items() if intake.has_room}

    def hand_over(self, fetched: Fetched, now: float) -> None:
        """Note what leaves the consumer at ``now`` (monotonic seconds)."""
        self.last_fetch_at[fetched.partition] = now
        before = self.handed_over.get(fetched.partition)
        first = fetched.records[0].offset
        goes_on = before is not None and before.generation == fetched.generation and first >= before.next
        if before is not None and goes_on:
            first = before.first
        self.handed_over[fetched.partition] = HandedOver(
            fetched.generation, first, fetched.records[-1].offset + 1
        )

    def undone(self, partition: TopicPartition) -> int | None:
        """The first offset that was handed over and is not done; None when everything is done."""
        handed = self.handed_over.get(partition)
        if handed is None:
            return None
        done = max(self.ledger.committable(partition) or 0, handed.first)
        return done if done < handed.next else None

    def fetched_since(self, topic: str, moment: float) -> bool:
        """Whether a fetch of a topic was handed over after ``moment`` (monotonic seconds)."""
        return any(at > moment for partition, at in self.last_fetch_at.items() if partition.topic == topic)

    async def drain(self, generation: int) -> None:
        """Drain every intake."""
        await asyncio.gather(*(intake.drain(generation) for intake in self.intakes.values()))


def prefetch_share(max_fetch_bytes: int, max_prefetch_bytes: int, num_partitions: int) -> int:
    """Most bytes to ask of one partition at a time, so that all partitions together stay within the bound.

    aiokafka keeps one response for every assigned partition until it is asked for, also for those that are
    not read from now; a single record batch that is larger than its share comes all the same (KIP-74).
    """
    return max(1, min(max_fetch_bytes, max_prefetch_bytes // max(1, num_partitions)))


class WholeFetchThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer: bounds what that fetches ahead, knows topics by their id."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_bytes = self._flow.max_prefetch_bytes  # noqa: SLF001
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # noqa: SLF001
        consumer.commit = partial(self._commit_with_ids, consumer.commit)
        return consumer

    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Share the bound among the partitions, then do what Faust does."""
        consumer = self._ensure_consumer()
        consumer._fetcher._max_partition_fetch_bytes = prefetch_share(  # noqa: SLF001
            self.app.conf.consumer_max_fetch_size, self._flow.max_prefetch_bytes, len(assigned)
        )
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offsets, but to the beginning of a topic that was made anew since."""
        committed: Mapping[TP, int] = await self.call_thread(self._seek_to_committed)
        return committed

    async def _seek_to_committed(self) -> Mapping[Any, int | None]:
        consumer = self._ensure_consumer()
        positions: dict[Any, int | None] = await consumer.seek_to_committed()
        commits = await consumer._coordinator.fetch_committed_offsets(list(positions))  # noqa: SLF001
        found = await topic_ids(consumer._client, {partition.topic for partition in positions})  # noqa: SLF001
        # Others read it on the loop of the app: it is replaced, never changed. What was known first stays, so
        # that the watch on progress sees a topic that was made anew after the group has rebalanced, too.
        self._flow.topic_ids = {**found, **self._flow.topic_ids}
        for partition, commit in commits.items():
            if is_of_another_topic(commit.metadata, found.get(partition.topic)):
                logger.warning("%s was deleted and made anew; it is read from its beginning", partition)
                await consumer.seek_to_beginning(partition)
                positions[partition] = None
        return positions

    async def _commit_with_ids(self, commit: Any, offsets: Mapping[Any, OffsetAndMetadata]) -> None:
        ids = self._flow.topic_ids
        await commit(
            {
                partition: OffsetAndMetadata(each.offset, commit_metadata(ids.get(partition.topic)))
                for partition, each in offsets.items()
            }
        )

    @property
    def _flow(self) -> Flow:
        return cast("WholeFetchApp", self.app).flow


class WholeFetchConsumer(driver.Consumer):
    """A Faust consumer that hands over fetches whole and commits what the ledger says."""

    def _new_consumer_thread(self) -> WholeFetchThread:
        return WholeFetchThread(self, loop=self.loop, beacon=self.beacon)

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
        records = await self._getmany(partitions, self._fetch_seconds(partitions))
        if not records:
            await asyncio.sleep(0)
        elif generation != self.app.consumer_generation_id or not self._flows():
            logger.info("gave back a fetch of generation %s: the group rebalances", generation)
            await self._give_back(records)
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

    def _fetch_seconds(self, partitions: set[Any]) -> float:
        all_have_room = len(partitions) == len(self._get_active_partitions())
        return FETCH_TIMEOUT_SECONDS if all_have_room else ROOM_POLL_SECONDS

    def _partitions_with_room(self) -> set[Any]:
        topics = self.flow.topics_with_room()
        return {partition for partition in self._get_active_partitions() if partition.topic in topics}

    async def _give_back(self, records: Mapping[Any, Sequence[Record]]) -> None:
        """Have records that nobody will get fetched again."""
        if not self.should_stop:
            await self._thread.call_thread(self._rewind, records)

    async def _rewind(self, records: Mapping[Any, Sequence[Record]]) -> None:
        """Set positions back to where they were before a fetch; runs, without awaiting, on Faust's thread.

        A position that is not past the records is left alone: the partition was assigned anew meanwhile and
        is read from its committed offset. Seeking to committed offsets would lose the records of a partition
        that has none: aiokafka leaves its position as it is.
        """
        consumer = self._thread._ensure_consumer()  # noqa: SLF001
        for partition, fetched in records.items():
            if not consumer._subscription.is_assigned(partition):  # noqa: SLF001
                continue
            state = consumer._subscription.subscription.assignment.state_value(partition)  # noqa: SLF001
            if state.has_valid_position and state.position > fetched[-1].offset:
                consumer.seek(partition, fetched[0].offset)

    def _deliver(self, partition: TopicPartition, generation: int, records: Iterable[Record]) -> None:
        fetched = Fetched(partition, generation, tuple(records))
        self.flow.hand_over(fetched, time.monotonic())
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

    def _should_commit(self, tp: Any, offset: int) -> bool:
        """Whatever is new, lower offsets too: those of a topic that was made anew begin at 0."""
        return bool(offset != self._committed_offset[tp])

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
        self.flow.handed_over.clear()


class WholeFetchTransport(driver.Transport):
    """Faust's aiokafka transport with :class:`WholeFetchConsumer`."""

    Consumer = WholeFetchConsumer


class NoTables(TableManager):
    """Faust's manager of tables, without the second that it waits for some: there are none."""

    async def on_start(self) -> None:
        """Do what Faust does, at once."""
        await self._update_channels()
        await self.recovery.start()


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


def faust_credentials(connection: Mapping[str, Any]) -> CredentialsT | None:
    """What Faust gives aiokafka again as the same arguments, for its consumer and its own producer.

    Args:
        connection: aiokafka arguments, of `stream_app.brokers.connection`.
    """
    context = connection.get("ssl_context")
    mechanism = connection.get("sasl_mechanism")
    if mechanism is None:
        return None if context is None else SSLCredentials(context)
    if "sasl_oauth_token_provider" in connection:
        return OAuthCredentials(oauth_cb=connection["sasl_oauth_token_provider"], ssl_context=context)
    return SASLCredentials(
        username=connection["sasl_plain_username"],
        password=connection["sasl_plain_password"],
        mechanism=mechanism,
        ssl_context=context,
    )


class GroupMember:
    """The consumer of an app as a member of its group."""

    def __init__(self, app: WholeFetchApp) -> None:
        self._app = app

    def assigned(self) -> set[TopicPartition]:
        """Partitions assigned to this worker now."""
        return assigned_partitions(self._app)

    def joined(self) -> bool:
        """Whether the group has given this worker an assignment, empty or not."""
        return group_is_joined(self._app)

    def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the consumer reads next, behind markers and gaps; without those it does not know yet. No I/O.

        The consumer's own `position` waits on its thread until there is one, which may be for ever.
        """
        client = cast(Any, self._app.consumer)._thread._consumer  # noqa: SLF001
        subscription = None if client is None else client._subscription.subscription  # noqa: SLF001
        assignment = None if subscription is None else subscription.assignment
        if assignment is None:
            return {}
        states = {each: assignment.state_value(each) for each in partitions}
        return {
            each: state.position
            for each, state in states.items()
            if state is not None and state.has_valid_position
        }
