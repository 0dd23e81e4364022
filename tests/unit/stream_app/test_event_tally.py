"""What became of published events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.event_tally import EventTally, percentile


def test_every_event_is_assigned_dead_lettered_or_lost() -> None:
    tally = EventTally()
    for number in range(4):
        tally.published(f"listed-0-{number}", 1_000 + number)
    tally.assigned("listed-0-0", 1_010)
    tally.assigned("listed-0-1", 1_500)
    tally.dead_lettered("listed-0-2", 3_000)
    summary = tally.summary()
    assert (summary.published, summary.assigned, summary.dead_lettered, summary.lost) == (4, 2, 1, 1)
    assert summary.duplicates == 0
    assert summary.seconds == 2.0
    assert summary.events_per_second == 1.5
    assert (summary.p50_ms, summary.p99_ms) == (499.0, 1_998.0)


def test_a_second_output_is_a_duplicate_and_no_second_event() -> None:
    tally = EventTally()
    tally.published("listed-0-0", 0)
    for timestamp_ms in (10, 900, 990):
        tally.assigned("listed-0-0", timestamp_ms)
    summary = tally.summary()
    assert (summary.assigned, summary.duplicates, summary.p99_ms) == (1, 2, 10.0)


def test_a_category_and_a_dead_letter_of_one_event_are_a_duplicate() -> None:
    tally = EventTally()
    tally.published("listed-0-0", 0)
    tally.dead_lettered("listed-0-0", 5)
    tally.assigned("listed-0-0", 9)
    summary = tally.summary()
    assert (summary.assigned, summary.dead_lettered, summary.duplicates, summary.lost) == (1, 0, 1, 0)


def test_an_output_may_be_seen_before_its_confirmation() -> None:
    tally = EventTally()
    tally.assigned("listed-0-0", 30)
    assert tally.latency_ms("listed-0-0") is None
    tally.published("listed-0-0", 10)
    assert tally.latency_ms("listed-0-0") == 20
    assert tally.summary().lost == 0


def test_an_output_of_somebody_elses_event_answers_none_of_ours() -> None:
    tally = EventTally()
    tally.published("listed-0-0", 10)
    tally.published("listed-0-1", 20)
    tally.assigned("listed-0-0", 1_010)
    for _ in range(2):
        tally.assigned("listed-0-7", 90_000)
    assert (tally.num_published, tally.num_answered) == (2, 1)
    summary = tally.summary()
    assert (summary.lost, summary.duplicates, summary.seconds) == (1, 0, 1.0)


def test_nothing_published_is_nothing_lost() -> None:
    summary = EventTally().summary()
    assert (summary.published, summary.lost, summary.events_per_second, summary.p99_ms) == (0, 0, 0.0, 0.0)


@given(
    published=st.sets(st.integers(0, 50)),
    assigned=st.lists(st.integers(0, 50)),
    dead=st.lists(st.integers(0, 50)),
)
def test_the_parts_add_up_to_what_was_published(
    published: set[int], assigned: list[int], dead: list[int]
) -> None:
    tally = EventTally()
    for number in published:
        tally.published(str(number), 0)
    for number in assigned:
        tally.assigned(str(number), 5)
    for number in dead:
        tally.dead_lettered(str(number), 5)
    summary = tally.summary()
    assert summary.assigned + summary.dead_lettered + summary.lost == summary.published == len(published)
    ours = [number for number in (*assigned, *dead) if number in published]
    assert summary.duplicates == len(ours) - len(set(ours))
    assert tally.num_answered == summary.assigned + summary.dead_lettered


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_a_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 0.5) == percentile([7], 0.99) == 7.0
