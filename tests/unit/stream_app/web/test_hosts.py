"""Servers that do not answer are left alone for a while."""

import pytest
from yarl import URL

from stream_app.web.errors import FetchError, FetchReason
from stream_app.web.hosts import HostPauses

DEAD = URL("https://dead.example/1.jpg?signature=secret")
ALIVE = URL("https://alive.example/1.jpg")


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def fail(pauses: HostPauses, times: int, reason: FetchReason = FetchReason.TIMEOUT) -> None:
    for _ in range(times):
        pauses.check(DEAD)
        pauses.failed(DEAD, reason)


@pytest.mark.parametrize("reason", [FetchReason.TIMEOUT, FetchReason.UNAVAILABLE])
def test_a_host_is_left_alone_after_failures_in_a_row(clock: FakeClock, reason: FetchReason) -> None:
    pauses = HostPauses(10.0, clock=clock)
    fail(pauses, HostPauses.FAILURES_BEFORE_PAUSE, reason)
    with pytest.raises(FetchError, match="left alone for 10 s") as caught:
        pauses.check(DEAD)
    assert caught.value.reason is FetchReason.UNAVAILABLE
    assert "secret" not in str(caught.value)
    pauses.check(ALIVE)


def test_one_failure_after_the_pause_begins_another(clock: FakeClock) -> None:
    pauses = HostPauses(10.0, clock=clock)
    fail(pauses, HostPauses.FAILURES_BEFORE_PAUSE)
    clock.now += 10.0
    fail(pauses, 1)
    with pytest.raises(FetchError):
        pauses.check(DEAD)


def test_an_answer_that_came_ends_the_count(clock: FakeClock) -> None:
    pauses = HostPauses(10.0, clock=clock)
    fail(pauses, HostPauses.FAILURES_BEFORE_PAUSE - 1)
    pauses.worked(DEAD)
    fail(pauses, HostPauses.FAILURES_BEFORE_PAUSE - 1)
    pauses.check(DEAD)


@pytest.mark.parametrize("reason", sorted(set(FetchReason) - {FetchReason.TIMEOUT, FetchReason.UNAVAILABLE}))
def test_faults_of_one_address_do_not_count_against_its_host(clock: FakeClock, reason: FetchReason) -> None:
    pauses = HostPauses(10.0, clock=clock)
    fail(pauses, 100, reason)


def test_no_host_is_left_alone_when_the_pause_is_zero(clock: FakeClock) -> None:
    fail(HostPauses(0.0, clock=clock), 100)


def test_the_number_of_remembered_hosts_is_bounded(clock: FakeClock) -> None:
    pauses = HostPauses(10.0, clock=clock)
    for number in range(HostPauses.MAX_HOSTS + 10):
        pauses.failed(URL(f"https://host-{number}.example/"), FetchReason.TIMEOUT)
    assert len(pauses._failures) == HostPauses.MAX_HOSTS
