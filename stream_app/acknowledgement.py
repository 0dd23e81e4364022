"""What may be committed: an offset ledger of our own, pure and without a clock.

A *span* is a run of records of one partition that is worked on as a whole. Spans of a partition are begun in
offset order and may end in any order; only a finished prefix may be committed. Everything is counted
within one generation of the consumer group: once a generation is closed nothing of it is begun, finished
or committed, which is what makes it safe to drop buffered work when partitions are revoked.

Offsets that begin again lower down are those of a topic that was made anew: what was finished before says
nothing of them, and a commit of it would skip records.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class TopicPartition(NamedTuple):
    """A partition of a topic. Equal to, and hashes like, the tuples that Faust and aiokafka use."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Span:
    """A run of records of one partition: offsets ``first`` up to, but not including, ``next``.

    Offsets inside may be missing (compaction, transaction markers); order is all that counts.
    """

    partition: TopicPartition
    generation: int
    first: int
    next: int


@dataclass(slots=True)
class _PartitionLedger:
    """Spans in the order they were begun; those up to ``num_stale`` are of a log that is no more."""

    begun: deque[Span] = field(default_factory=deque)
    finished: Counter[Span] = field(default_factory=Counter)
    num_stale: int = 0
    next: int = 0
    committable: int | None = None

    def begin(self, span: Span) -> None:
        if span.first < self.next:
            self.num_stale, self.committable = len(self.begun), None
        self.begun.append(span)
        self.next = span.next

    def finish(self, span: Span) -> None:
        self.finished[span] += 1
        while self.begun and self.finished[self.begun[0]]:
            first = self.begun.popleft()
            self.finished -= Counter([first])
            if self.num_stale:
                self.num_stale -= 1
            else:
                self.committable = first.next


class OffsetLedger:
    """Knows, for each partition, up to where everything has been dealt with.

    Not thread-safe: it belongs to the event loop of the service.
    """

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _PartitionLedger] = {}
        self._closed_generation = -1
        self._generation = -1

    def begin(self, spans: Iterable[Span]) -> bool:
        """Note that work on ``spans`` starts, in offset order within each partition.

        Returns:
            False, with nothing noted, when a span is of a closed generation: the work must be dropped.
        """
        spans = tuple(spans)
        if any(span.generation <= self._closed_generation for span in spans):
            return False
        for span in spans:
            self._enter(span.generation)
            self._partitions.setdefault(span.partition, _PartitionLedger()).begin(span)
        return True

    def done(self, spans: Iterable[Span]) -> None:
        """Note that everything the spans cause is confirmed; foreign generations are ignored."""
        for span in spans:
            ledger = self._partitions.get(span.partition)
            if span.generation == self._generation and ledger is not None:
                ledger.finish(span)

    def committable(self, partition: TopicPartition) -> int | None:
        """The offset to commit (the next one to read), or None while nothing is finished."""
        ledger = self._partitions.get(TopicPartition(*partition))
        return None if ledger is None else ledger.committable

    def partitions(self) -> Iterator[TopicPartition]:
        """The partitions that have something to commit."""
        return (partition for partition, ledger in self._partitions.items() if ledger.committable is not None)

    def close(self, generation: int) -> None:
        """Refuse, from now on, everything of this generation and of earlier ones."""
        self._closed_generation = max(generation, self._closed_generation)
        if self._generation <= self._closed_generation:
            self._partitions.clear()

    @property
    def num_unfinished(self) -> int:
        """Spans begun and not yet finished."""
        return sum(len(ledger.begun) for ledger in self._partitions.values())

    def _enter(self, generation: int) -> None:
        if generation > self._generation:
            self._partitions.clear()
            self._generation = generation
