"""A bad item is found and the rest of its batch is served."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.errors import FatalError
from stream_app.isolation import isolate


@given(good=st.lists(st.booleans(), max_size=70))
def test_exactly_the_bad_items_fail_and_the_others_keep_their_order(good: list[bool]) -> None:
    def work(items: Sequence[int]) -> list[int]:
        if not all(good[item] for item in items):
            raise ValueError("a bad one is among them")
        return [10 * item for item in items]

    done, failed = isolate(work, range(len(good)))
    assert [result for _, results in done for result in results] == [
        10 * i for i, ok in enumerate(good) if ok
    ]
    assert [item for item, _ in failed] == [i for i, ok in enumerate(good) if not ok]


def test_a_batch_without_fault_is_worked_on_once() -> None:
    calls: list[Sequence[int]] = []
    isolate(calls.append, range(64))
    assert len(calls) == 1


def test_one_bad_item_costs_few_calls() -> None:
    calls = 0

    def work(items: Sequence[int]) -> None:
        nonlocal calls
        calls += 1
        if 17 in items:
            raise ValueError("17")

    isolate(work, range(64))
    assert calls == 13


def test_a_fatal_error_is_not_split() -> None:
    def work(_items: Sequence[int]) -> None:
        raise FatalError("device lost")

    with pytest.raises(FatalError, match="device lost"):
        isolate(work, range(8))
