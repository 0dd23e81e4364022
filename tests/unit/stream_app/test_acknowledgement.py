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


def test_offsets_that_begin_again_are_those_of_a_topic_made_anew() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(400, 410)])
    ledger.done([span(400, 410)])
    ledger.begin([span(410, 420)])
    ledger.begin([span(0, 3)])
    assert ledger.committable(PARTITION) is None
    assert list(ledger.partitions()) == []
    ledger.done([span(410, 420)])
    assert ledger.committable(PARTITION) is None
    ledger.done([span(0, 3)])
    assert ledger.committable(PARTITION) == 3


def test_a_span_of_the_old_topic_does_not_finish_its_twin_of_the_new_one() -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 3)])
    ledger.begin([span(0, 3)])
    ledger.done([span(0, 3)])
    assert ledger.committable(PARTITION) is None
    ledger.done([span(0, 3)])
    assert ledger.committable(PARTITION) == 3


@pytest.mark.parametrize("partition", [TP("product-listed", 0), ("product-listed", 0), PARTITION])
def test_partitions_of_faust_and_aiokafka_are_understood(partition: tuple[str, int]) -> None:
    ledger = OffsetLedger()
    ledger.begin([span(0, 1)])
    ledger.done([span(0, 1)])
    assert ledger.committable(partition) == 1  # type: ignore[arg-type]


class LedgerMachine(RuleBasedStateMachine):
    """Any order of beginning, finishing, closing and reassigning, against a model of single offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetLedger()
        self.generation = 1
        self.position = 0
        self.committed = 0
        self.open: list[Span] = []
        self.stale: list[Span] = []
        self.finished_offsets: set[int] = set()

    @rule(length=st.integers(1, 5))
    def begin(self, length: int) -> None:
        following = span(self.position, self.position + length, generation=self.generation)
        assert self.ledger.begin([following])
        self.position += length
        self.open.append(following)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish_any(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.open))
        self.open.remove(chosen)
        self.ledger.done([chosen])
        self.finished_offsets.update(range(chosen.first, chosen.next))

    @rule()
    def commit(self) -> None:
        self.committed = max(self.committed, self.ledger.committable(PARTITION) or 0)

    @rule()
    def topic_is_made_anew(self) -> None:
        """Its group has no offsets either; what is open still finishes, for nothing."""
        self.stale += self.open
        self.open = []
        self.position = self.committed = 0
        self.finished_offsets.clear()

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def finish_any_of_the_old_topic(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.stale))
        self.stale.remove(chosen)
        self.ledger.done([chosen])

    @rule()
    def rebalance(self) -> None:
        self.commit()
        self.ledger.close(self.generation)
        late, self.open, self.stale = [*self.open, *self.stale], [], []
        self.generation += 1
        self.position = self.committed
        self.ledger.done(late)

    @invariant()
    def no_commit_passes_an_unfinished_offset(self) -> None:
        committable = self.ledger.committable(PARTITION)
        if committable is not None and self.position:
            assert self._missing(range(committable)) == []

    def _missing(self, offsets: Iterable[int]) -> list[int]:
        return [offset for offset in offsets if offset not in self.finished_offsets]


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
