"""Work and rest of a backfill."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.duty_cycle import DutyCycle

seconds = st.floats(0.001, 100)


@given(share=st.floats(0.01, 1), works=st.lists(st.tuples(seconds, st.integers(1, 64)), min_size=2))
def test_no_more_than_the_share_of_the_time_is_worked(share: float, works: list[tuple[float, int]]) -> None:
    cycle, now, worked = DutyCycle(share), 0.0, 0.0
    for length, num_records in works:
        now += cycle.wait(now)
        cycle.worked(num_records, now, now + length)
        now, worked = now + length, worked + length
    now += cycle.wait(now)
    assert worked / now == pytest.approx(share)


@given(rate=st.floats(0.1, 1_000), works=st.lists(st.tuples(seconds, st.integers(1, 64)), min_size=2))
def test_no_more_records_a_second_than_asked_for(rate: float, works: list[tuple[float, int]]) -> None:
    cycle, now = DutyCycle(1.0, rate), 0.0
    for length, num_records in works:
        now += cycle.wait(now)
        cycle.worked(num_records, now, now + length)
        now += length
    now += cycle.wait(now)
    assert sum(num_records for _, num_records in works) <= rate * now * (1 + 1e-9)


def test_a_share_of_a_quarter_rests_three_times_as_long_and_the_longer_rest_counts() -> None:
    cycle = DutyCycle(0.25, 10)
    assert cycle.wait(5.0) == 0
    cycle.worked(1, 5.0, 7.0)
    assert cycle.wait(7.0) == pytest.approx(6.0)
    assert cycle.wait(20.0) == 0
    cycle.worked(100, 20.0, 21.0)
    assert cycle.wait(21.0) == pytest.approx(9.0)
