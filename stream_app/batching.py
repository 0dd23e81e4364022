"""When a micro-batch is full: pure, with the clock handed in.

Whole fetches come in, one partition each; batches go out that may hold records of several partitions. Small
fetches are merged, large ones are split, and the order within a partition is kept.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from stream_app.acknowledgement import Span, TopicPartition


class BatchSettings(BaseModel):
    """How micro-batches are formed."""

    model_config = ConfigDict(frozen=True)

    max_batch: int = Field(64, ge=1, le=4096, description="Most records in one micro-batch.")
    max_delay_ms: float = Field(
        20.0,
        ge=0,
        le=10_000,
        description="Longest wait, in ms, for a batch to fill after its first record; none when no batch is"
        " worked on.",
    )
    max_batch_bytes: int = Field(
        16 * 2**20, ge=1, description="Most bytes in one micro-batch; a larger single record goes alone."
    )
    max_buffered_bytes: int = Field(
        64 * 2**20, ge=1, description="Bytes waiting for a batch above which no more is fetched."
    )
    max_in_flight: int = Field(
        2, ge=1, le=64, description="Batches worked on at once: one prepares while another is on the device."
    )


class Record(Protocol):
    """What the service reads of a Kafka record (aiokafka's ``ConsumerRecord`` has it all)."""

    @property
    def topic(self) -> str:
        """Topic it was read from."""

    @property
    def partition(self) -> int:
        """Partition it was read from."""

    @property
    def offset(self) -> int:
        """Offset in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, as the broker or the producer says; -1 when unknown."""

    @property
    def key(self) -> bytes | None:
        """Key as received."""

    @property
    def value(self) -> bytes | None:
        """Value as received; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Headers as received, duplicates included."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The records that one fetch brought from one partition, in offset order, never empty."""

    partition: TopicPartition
    generation: int
    records: Sequence[Record]


@dataclass(frozen=True)
class Batch:
    """Records that go through the model together, and the spans that they acknowledge.

    Attributes:
        records: in order of arrival.
        spans: runs of them, by partition.
        arrived_at: when each came in, seconds by the clock of who added it.
    """

    records: tuple[Record, ...]
    spans: tuple[Span, ...]
    arrived_at: tuple[float, ...] = ()

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of all keys, values and headers."""
        return sum(record_bytes(record) for record in self.records)

    @property
    def oldest_timestamp_ms(self) -> float:
        """The earliest timestamp that a record has; infinity when none has one."""
        return _oldest_timestamp_ms(self.records)


def _oldest_timestamp_ms(records: Iterable[Record]) -> float:
    return min((record.timestamp for record in records if record.timestamp >= 0), default=math.inf)


def record_bytes(record: Record) -> int:
    """Bytes of key, value and headers: what a waiting record costs in memory, objects around them aside.

    Headers count because a sender can put megabytes there and leave the value small.
    """
    num_bytes = len(record.value or b"") + len(record.key or b"")
    for name, value in record.headers:
        num_bytes += len(name) + len(value or b"")
    return num_bytes


@dataclass(slots=True)
class _Waiting:
    fetched: Fetched
    sizes: Sequence[int]
    arrived_at: float
    position: int = 0


class BatchFormer:
    """Turns fetches into batches: full at ``max_batch`` records or bytes, due after ``max_delay``.

    Times are seconds of one monotonic clock that the caller reads.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._waiting: deque[_Waiting] = deque()
        self._num_records = 0
        self._num_bytes = 0

    @property
    def num_records(self) -> int:
        """Records that wait for a batch."""
        return self._num_records

    @property
    def num_bytes(self) -> int:
        """Bytes that wait for a batch."""
        return self._num_bytes

    @property
    def oldest_timestamp_ms(self) -> float:
        """The earliest timestamp of a record that waits; infinity when none has one."""
        return min(
            (_oldest_timestamp_ms(each.fetched.records[each.position :]) for each in self._waiting),
            default=math.inf,
        )

    @property
    def has_room(self) -> bool:
        """Whether more should be fetched: below the byte bound and below a batch or two of records."""
        settings = self._settings
        enough = max(2 * settings.max_batch * settings.max_in_flight, 1024)
        return self._num_bytes < settings.max_buffered_bytes and self._num_records < enough

    def add(self, fetched: Fetched, now: float) -> None:
        """Take a fetch in, arrived at ``now``."""
        sizes = list(map(record_bytes, fetched.records))
        self._waiting.append(_Waiting(fetched, sizes, now))
        self._num_records += len(sizes)
        self._num_bytes += sum(sizes)

    def seconds_until_due(self, now: float) -> float | None:
        """Seconds until a batch should go: 0 when it should go at once, None while nothing waits."""
        if not self._waiting:
            return None
        if self._num_records >= self._settings.max_batch or self._num_bytes >= self._settings.max_batch_bytes:
            return 0.0
        return max(0.0, self._waiting[0].arrived_at + self._settings.max_delay_ms / 1000 - now)

    def take(self) -> Batch:
        """The next batch, full or not, in order of arrival.

        Raises:
            LookupError: nothing waits.
        """
        if not self._waiting:
            raise LookupError("no record waits for a batch")
        records: list[Record] = []
        spans: list[Span] = []
        arrived_at: list[float] = []
        room_bytes = self._settings.max_batch_bytes
        while self._waiting and len(records) < self._settings.max_batch:
            taken, num_bytes = self._take_from_first(
                self._settings.max_batch - len(records), room_bytes, not records
            )
            if not taken:
                break
            room_bytes -= num_bytes
            records.extend(taken)
            spans.append(self._span(taken))
            arrived_at += [self._waiting[0].arrived_at] * len(taken)
            self._forget_taken(len(taken), num_bytes)
        return Batch(tuple(records), tuple(spans), tuple(arrived_at))

    def clear(self) -> None:
        """Drop everything that waits: partitions were revoked, the next owner reads it again."""
        self._waiting.clear()
        self._num_records = self._num_bytes = 0

    def _take_from_first(self, most: int, room_bytes: int, is_empty: bool) -> tuple[Sequence[Record], int]:
        waiting = self._waiting[0]
        num_taken = total = 0
        for size in waiting.sizes[waiting.position : waiting.position + most]:
            if total + size > room_bytes and (num_taken or not is_empty):
                break
            num_taken += 1
            total += size
        return waiting.fetched.records[waiting.position : waiting.position + num_taken], total

    def _span(self, taken: Sequence[Record]) -> Span:
        fetched = self._waiting[0].fetched
        return Span(fetched.partition, fetched.generation, taken[0].offset, taken[-1].offset + 1)

    def _forget_taken(self, num_records: int, num_bytes: int) -> None:
        waiting = self._waiting[0]
        waiting.position += num_records
        self._num_records -= num_records
        self._num_bytes -= num_bytes
        if waiting.position == len(waiting.fetched.records):
            self._waiting.popleft()
