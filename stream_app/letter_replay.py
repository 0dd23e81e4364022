"""Dead letters back to where they came from: each delivery awaited, and remembered."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import OffsetAndMetadata

from schemas.dead_letters import read_failure, replay_headers
from stream_app.broker_settings import BrokerSettings
from stream_app.brokers import max_record_bytes, reach
from stream_app.catalogue_publishing import BATCH_OVERHEAD_BYTES, DELIVERY_SECONDS, DeliveryError, Pace
from stream_app.errors import TopicError
from stream_app.replaying import Memory, Refusal, Selection, refusal, source_place
from stream_app.topic_ids import commit_metadata, is_of_another_topic
from stream_app.topic_reading import Stretch, committed_offsets, open_stretch, read

REMEMBER_SECONDS = 1.0
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to send back, how fast, and how often one letter at most."""

    selection: Selection
    since: datetime | None = None
    limit: int | None = None
    per_second: float = 10.0
    max_attempts: int = 3
    dry_run: bool = False
    again: bool = False


@dataclass(slots=True)
class ReplayProgress:
    """How far a replay has come; true also when it was interrupted.

    Attributes:
        num_letters: Letters to read, those that filters leave out too; an upper bound.
        num_read: Of these, how many were read.
        num_replayed: Letters that the brokers confirmed, back in their topic.
        num_known: Letters that were dealt with before.
        refused: Letters that are not sent back, by reason.
        on_refused: Called with each of those and a line that says why.
        on_change: Called after each letter.
    """

    num_letters: int = 0
    num_read: int = 0
    num_replayed: int = 0
    num_known: int = 0
    refused: Counter[Refusal] = field(default_factory=Counter)
    on_refused: Callable[[ConsumerRecord, str], None] = lambda _letter, _why: None
    on_change: Callable[[], None] = lambda: None


async def replay(
    brokers: BrokerSettings,
    topic: str,
    group: str,
    sources: Collection[str],
    options: ReplayOptions,
    progress: ReplayProgress,
) -> None:
    """Send the chosen letters back, in order within a partition of the dead-letter topic.

    What the brokers confirmed is committed as offsets of ``group`` every second and at the end, also of an
    interrupted replay: only a killed one may repeat the letters of its last second.

    Args:
        brokers: where they are, and how to come in.
        topic: the dead-letter topic.
        group: the consumer group that remembers.
        sources: topics that letters may go back to.
        options: which letters, and how.
        progress: is kept up to date, also when this raises.

    Raises:
        TopicError: no broker answers, a topic is missing, or what is to remember no longer fits.
        AccessError: the brokers turn this client away, or do not allow what it needs.
        DeliveryError: the brokers stopped answering, or taking letters.
    """
    async with open_stretch(brokers, topic, since=options.since, group=group, writes=sources) as letters:
        progress.num_letters = letters.num_records
        limits = await _limits(letters, sources)
        memories = await _memories(group, letters, again=options.again)
        producer = AIOKafkaProducer(
            **letters.arguments,
            enable_idempotence=True,
            acks="all",
            max_request_size=max(limits.values()),
            request_timeout_ms=int(DELIVERY_SECONDS * 1000),
        )
        run = _Run(letters, memories, producer, options, progress, limits)
        try:
            await producer.start()
            await run.go()
        except (KafkaError, TimeoutError) as error:
            raise DeliveryError(
                f"{brokers.broker} stopped taking letters ({type(error).__name__}); what was confirmed"
                " is not sent again"
            ) from error
        finally:
            await _close(producer, run)


class _Run:
    def __init__(
        self,
        letters: Stretch,
        memories: dict[TopicPartition, Memory],
        producer: AIOKafkaProducer,
        options: ReplayOptions,
        progress: ReplayProgress,
        limits: Mapping[str, int],
    ) -> None:
        self._letters = letters
        self._memories = memories
        self._producer = producer
        self._options = options
        self._progress = progress
        self._limits = limits
        self._remembered_at = time.monotonic()

    async def go(self) -> None:
        pace = Pace(self._options.per_second, time.monotonic())
        found = read(self._letters)
        async with aclosing(found):
            async for letter in found:
                if self._options.selection.has(read_failure(letter.headers)):
                    await self._take(letter, pace)
                self._progress.num_read += 1
                self._progress.on_change()
                if self._options.limit is not None and self._progress.num_replayed >= self._options.limit:
                    return
                if time.monotonic() - self._remembered_at > REMEMBER_SECONDS:
                    await self.remember(DELIVERY_SECONDS)

    async def _take(self, letter: ConsumerRecord, pace: Pace) -> None:
        memory = self._memories[TopicPartition(letter.topic, letter.partition)]
        if memory.has(letter.offset):
            self._progress.num_known += 1
            return
        if memory.is_full:
            raise TopicError(
                "what filters have left out no longer fits into the memory of replays; replay the rest"
                " without filters first"
            )
        refused = self._refusal(letter)
        if refused is None and not self._options.dry_run:
            await asyncio.sleep(pace.wait(time.monotonic()))
            try:
                await self._send(letter)
            except MessageSizeTooLargeError:
                refused = Refusal.TOO_LARGE, "the brokers say that it is larger than its topic takes"
        if refused is None:
            self._progress.num_replayed += 1
        else:
            self._progress.refused[refused[0]] += 1
            self._progress.on_refused(letter, refused[1])
        if not self._options.dry_run:
            memory.add(letter.offset)

    def _refusal(self, letter: ConsumerRecord) -> tuple[Refusal, str] | None:
        found = refusal(letter, topics=self._limits, max_attempts=self._options.max_attempts)
        if found is not None:
            return found
        headers = replay_headers(letter.headers)
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(letter.key, letter.value, headers)
        limit = self._limits[_place(letter)[0]]
        # A record that the brokers refuse leaves a gap in the sequence of an idempotent producer, which
        # aiokafka 0.14 does not close: all later ones would fail.
        return (Refusal.TOO_LARGE, f"its topic takes {limit} bytes, it has {size}") if size > limit else None

    async def _send(self, letter: ConsumerRecord) -> None:
        topic, partition = _place(letter)
        exists = partition in (await self._producer.partitions_for(topic) or ())
        delivery = await self._producer.send(
            topic,
            letter.value,
            key=letter.key,
            headers=replay_headers(letter.headers),
            partition=partition if exists else None,
        )
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                await asyncio.shield(delivery)
        except asyncio.CancelledError:
            # Interrupted: a letter on its way has to be counted.
            await asyncio.wait({delivery}, timeout=STOP_SECONDS)
            if delivery.done() and delivery.exception() is None:
                self._memories[TopicPartition(letter.topic, letter.partition)].add(letter.offset)
                self._progress.num_replayed += 1
            raise

    async def remember(self, seconds: float) -> None:
        """Commit what was dealt with, within so long.

        Raises:
            aiokafka.errors.KafkaError: the brokers refuse it.
            TimeoutError: they do not answer.
        """
        if self._options.dry_run:
            return
        told = commit_metadata(self._letters.topic_id)
        places = {
            partition: OffsetAndMetadata(memory.offset, f"{told};{memory.metadata}")
            for partition, memory in self._memories.items()
        }
        async with asyncio.timeout(seconds):
            await self._letters.consumer.commit(places)
        self._remembered_at = time.monotonic()


def _place(letter: ConsumerRecord) -> tuple[str, int]:
    failure = read_failure(letter.headers)
    place = source_place(failure) if failure else None
    if place is None:
        raise ValueError("only a letter with a source can be sent back")
    return place


async def _close(producer: AIOKafkaProducer, run: _Run) -> None:
    """Remember what was dealt with and disconnect, also from brokers that have gone."""
    try:
        await run.remember(STOP_SECONDS)
    except (KafkaError, TimeoutError) as error:
        raise DeliveryError(
            f"what was replayed last could not be remembered ({type(error).__name__}); the next replay"
            " may send it again"
        ) from error
    finally:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await producer.stop()
        except (KafkaError, TimeoutError):
            await producer.client.close()


async def _memories(group: str, letters: Stretch, *, again: bool) -> dict[TopicPartition, Memory]:
    partitions = list(letters.ends)
    starts = await letters.consumer.beginning_offsets(partitions)
    memories = {partition: Memory(starts[partition]) for partition in partitions}
    if again:
        return memories
    async with reach(letters.broker, letters.arguments) as admin:
        committed = await committed_offsets(admin, group)
    for partition in partitions:
        place = committed.get(partition)
        if place is None:
            continue
        told, _, ranges = (place.metadata or "").rpartition(";")
        # Where brokers know no ids: offsets past the end are of a topic that was deleted and made anew.
        if place.offset <= letters.ends[partition] and not is_of_another_topic(told, letters.topic_id):
            memories[partition] = Memory.read(place.offset, ranges)
            memories[partition].skip_to(starts[partition])
    return memories


async def _limits(letters: Stretch, sources: Collection[str]) -> dict[str, int]:
    """The largest record that each topic takes, in bytes, less what a batch adds to it."""
    async with reach(letters.broker, letters.arguments) as admin:
        return {topic: await max_record_bytes(admin, topic) - BATCH_OVERHEAD_BYTES for topic in sources}
