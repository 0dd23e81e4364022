"""The ledger never lets a commit pass a record that is not finished."""

from collections.abc import Iterable

import pytest
from faust.types import TP
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_app.acknowledgement import OffsetLedger, Span, TopicPartition

PARTITION = TopicPartition("product-listed", 0)


def span(first: int, following: int, *, generation: int = 1, partition: TopicPartition = PARTITION) -> Span:
    return Span(partition, generation, first, following)


def test_nothing_is_committable_before_anything_is_finished() -> None:
    ledger = OffsetLedger()
    assert ledger.begin([span(0, 10)])
    assert ledger.committable(PARTITION) is None
    assert list(ledger.partitions()) == []


def test_a_finished_prefix_is_committable() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 10)])
    ledger.begin([span(10, 12)])
    ledger.done([span(0, 10)])
    assert ledger.committable(PARTITION) == 10


def test_a_later_span_waits_for_the_earlier_one() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 10)])
    ledger.begin([span(10, 12)])
    ledger.done([span(10, 12)])
    assert ledger.committable(PARTITION) is None
    ledger.done([span(0, 10)])
    assert ledger.committable(PARTITION) == 12


def test_gaps_between_offsets_do_not_stop_the_commit() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(3, 5)])
    ledger.begin([span(900, 901)])
    ledger.done([span(3, 5), span(900, 901)])
    assert ledger.committable(PARTITION) == 901


def test_a_closed_generation_is_refused_and_its_late_results_are_ignored() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 10)])
    ledger.close(1)
    assert not ledger.begin([span(10, 20)])
    ledger.done([span(0, 10)])
    assert ledger.committable(PARTITION) is None


def test_a_new_generation_forgets_what_the_old_one_left_unfinished() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 10)])
    ledger.begin([span(0, 4, generation=2)])
    ledger.done([span(0, 10)])
    assert ledger.committable(PARTITION) is None
    ledger.done([span(0, 4, generation=2)])
    assert ledger.committable(PARTITION) == 4


def test_a_partition_that_is_read_anew_is_committed_anew() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 500)])
    ledger.done([span(0, 500)])
    ledger.begin([span(0, 8)])
    assert ledger.committable(PARTITION) is None
    ledger.done([span(0, 8)])
    assert ledger.committable(PARTITION) == 8


def test_what_is_left_of_an_old_topic_acknowledges_nothing_in_the_new_one() -> None:
    """The spans are equal: only both together tell that the new one is done."""
    ledger = OffsetLedger()
    ledger.begin([span(0, 10), span(10, 20)])
    ledger.begin([span(0, 10)])
    ledger.done([span(10, 20), span(0, 10)])
    assert ledger.committable(PARTITION) is None
    ledger.done([span(0, 10)])
    assert ledger.committable(PARTITION) == 10


@pytest.mark.parametrize("partition", [TP("product-listed", 0), ("product-listed", 0), PARTITION])
def test_partitions_of_faust_and_aiokafka_are_understood(partition: tuple[str, int]) -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 1)])
    ledger.done([span(0, 1)])
    assert ledger.committable(partition) == 1  # type: ignore[arg-type]


class LedgerMachine(RuleBasedStateMachine):
    """Any order of beginning, finishing, closing, reassigning and reading anew, against single offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetLedger()
        self.generation = 1
        self.start = self.position = self.committed = 0
        self.has_begun = False
        self.open: list[tuple[Span, bool]] = []
        """Spans in flight, and whether they are of what is read now."""
        self.finished_offsets: set[int] = set()

    @rule(length=st.integers(1, 5))
    def begin(self, length: int) -> None:
        following = span(self.position, self.position + length, generation=self.generation)
        assert self.ledger.begin([following])
        self.position += length
        self.has_begun = True
        self.open.append((following, True))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish_any(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.open) - 1))
        chosen, is_current = self.open.pop(number)
        self.ledger.done([chosen])
        if is_current:
            self.finished_offsets.update(range(chosen.first, chosen.next))

    @precondition(lambda self: self.has_begun)
    @rule(length=st.integers(1, 5), data=st.data())
    def read_anew(self, length: int, data: st.DataObject) -> None:
        """The topic was created again, or its log was cut."""
        self.start = self.position = self.committed = data.draw(st.integers(0, self.position - 1))
        self.open = [(one, False) for one, _ in self.open]
        self.finished_offsets.clear()
        self.begin(length=length)

    @rule()
    def commit(self) -> None:
        self.committed = self.ledger.committable(PARTITION) or self.committed

    @rule()
    def rebalance(self) -> None:
        self.commit()
        self.ledger.close(self.generation)
        stale, self.open = [one for one, _ in self.open], []
        self.generation += 1
        self.has_begun = False
        self.position = self.committed
        self.ledger.done(stale)

    @invariant()
    def no_commit_passes_an_unfinished_offset(self) -> None:
        committable = self.ledger.committable(PARTITION)
        if committable is not None:
            assert self._missing(range(self.start, committable)) == []

    @invariant()
    def all_that_is_finished_can_be_committed(self) -> None:
        if not self.open and self.position > self.committed:
            assert self.ledger.committable(PARTITION) == self.position

    def _missing(self, offsets: Iterable[int]) -> list[int]:
        return [offset for offset in offsets if offset not in self.finished_offsets]


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
