"""What is a stall and what is not."""

import pytest

from stream_app.acknowledgement import TopicPartition
from stream_app.progress import HeldFor, ProgressTracker, Reading

PARTITION = TopicPartition("product-listed", 0)
OTHER = TopicPartition("product-listed", 1)
STEP_SECONDS = 5.0
LIMIT_SECONDS = 60.0


def stalled(*readings: Reading) -> bool:
    """Whether the partition stalls after these readings, one each five seconds."""
    tracker = ProgressTracker(STEP_SECONDS)
    for number, reading in enumerate(readings):
        tracker.update({PARTITION: reading}, number * STEP_SECONDS)
    return bool(tracker.stalls(LIMIT_SECONDS))


@pytest.mark.parametrize(
    "reading",
    [
        pytest.param(Reading(end=50, fetched=10), id="nobody fetches"),
        pytest.param(Reading(end=50, fetched=50, undone=10), id="fetched and never done"),
        pytest.param(Reading(end=50, fetched=None), id="no position though brokers answer"),
        pytest.param(Reading(end=50, fetched=10, works=True), id="the lane works, but never gets these"),
        pytest.param(Reading(end=50, fetched=50, undone=10, is_full=True), id="full of what is never done"),
    ],
)
def test_records_that_wait_and_do_not_move_are_a_stall(reading: Reading) -> None:
    assert stalled(*[reading] * 14)
    assert not stalled(*[reading] * 13)


@pytest.mark.parametrize(
    "reading",
    [
        pytest.param(Reading(end=50, fetched=50), id="idle"),
        pytest.param(Reading(end=0, fetched=None), id="empty partition without a position"),
        pytest.param(Reading(end=51, fetched=51), id="a transaction marker or a gap at the end is read past"),
        pytest.param(Reading(end=3, fetched=50), id="the log was cut short or made anew"),
        pytest.param(Reading(end=None, fetched=10), id="brokers do not answer"),
        pytest.param(Reading(end=None, fetched=50, undone=10), id="brokers do not answer while work waits"),
        pytest.param(Reading(end=50, fetched=50, undone=10, works=True), id="others of the topic come first"),
        pytest.param(Reading(end=50, fetched=10, is_full=True), id="no room to fetch"),
    ],
)
def test_what_is_idle_unknown_or_waits_its_turn_is_no_stall(reading: Reading) -> None:
    assert not stalled(*[reading] * 100)


def test_slow_work_that_moves_is_no_stall() -> None:
    assert not stalled(*[Reading(end=10_000, fetched=9_000, undone=number // 10) for number in range(100)])


def test_new_records_are_no_progress_of_old_ones() -> None:
    assert stalled(*[Reading(end=50 + number, fetched=50 + number, undone=10) for number in range(14)])


def test_a_silence_of_the_brokers_begins_the_count_anew() -> None:
    waits, silence = Reading(end=50, fetched=10), Reading(end=None, fetched=10)
    assert not stalled(*[waits] * 12, silence, *[waits] * 12)


def test_a_lag_that_begins_after_a_long_rest_is_counted_from_its_beginning() -> None:
    assert not stalled(*[Reading(end=10, fetched=10)] * 100, *[Reading(end=11, fetched=10)] * 3)


def test_a_partition_that_is_taken_away_and_comes_back_begins_anew() -> None:
    tracker = ProgressTracker(STEP_SECONDS)
    waits = Reading(end=50, fetched=10)
    for number in range(40):
        now = number * STEP_SECONDS
        tracker.update({OTHER: waits} if number == 35 else {OTHER: waits, PARTITION: waits}, now)
    (stall,) = tracker.stalls(LIMIT_SECONDS)
    assert stall.partition == OTHER
    assert str(stall) == "product-listed-1 has 40 records waiting and made no progress for 195 s"


def test_the_lag_is_that_of_all_partitions_where_it_is_known() -> None:
    tracker = ProgressTracker(STEP_SECONDS)
    tracker.update(
        {
            PARTITION: Reading(end=50, fetched=50, undone=10),
            OTHER: Reading(end=7, fetched=5),
            TopicPartition("explanation-requested", 0): Reading(end=None, fetched=5),
            TopicPartition("explanation-requested", 1): Reading(end=900, fetched=None),
        },
        0.0,
    )
    assert tracker.lags == {PARTITION: 40, OTHER: 2}


def test_a_standby_has_nothing_to_stall() -> None:
    tracker = ProgressTracker(STEP_SECONDS)
    for number in range(100):
        tracker.update({}, number * STEP_SECONDS)
    assert tracker.stalls(LIMIT_SECONDS) == []


def test_time_in_which_the_process_was_frozen_does_not_count() -> None:
    held = HeldFor(STEP_SECONDS)
    held.observe(holds=True, now=0.0)
    assert held.observe(holds=True, now=900.0) == STEP_SECONDS
    assert held.observe(holds=False, now=901.0) == 0.0
    assert held.observe(holds=True, now=902.0) == 0.0


def test_records_that_nobody_fetches_have_waited_since_they_were_first_seen() -> None:
    tracker = ProgressTracker(STEP_SECONDS)
    for number in range(5):
        readings = {PARTITION: Reading(end=50, fetched=10), OTHER: Reading(end=9, fetched=9, undone=4)}
        tracker.update(readings, number * STEP_SECONDS)
    assert tracker.seconds_unfetched(PARTITION.topic) == 20
    tracker.update({OTHER: Reading(end=9, fetched=9, undone=4)}, 25.0)
    assert tracker.seconds_unfetched(PARTITION.topic) == 0
