"""Rates, places and bytes of bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.edge.limits import Bodies, Places, RateLimits, TokenBucket
from stream_app.edge.problems import ProblemError


class Clock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 60)), max_size=50),
)
def test_no_more_passes_than_the_burst_and_what_has_come_in_since(
    per_second: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    bucket, now, passed, largest = TokenBucket(per_second, burst, 0.0), 0.0, 0, 0
    for pause, cost in asked:
        now += pause
        seconds = bucket.take(cost, now)
        assert seconds >= 0
        if not seconds:
            passed, largest = passed + cost, max(largest, cost)
    # A single request above the burst is let through, and paid back.
    assert passed <= burst + now * per_second + max(0, largest - burst) + 1e-6 * (1 + now * per_second)


@given(st.floats(0.1, 1_000), st.integers(1, 50), st.integers(1, 60))
def test_whoever_waits_as_long_as_told_passes(per_second: float, burst: int, cost: int) -> None:
    bucket, now = TokenBucket(per_second, burst, 0.0), 0.0
    for _ in range(3):
        now += bucket.take(cost, now)
        assert bucket.take(cost, now) == 0 or now == 0


def test_each_key_has_its_own_rate_and_is_told_when_to_come_again() -> None:
    clock = Clock()
    rates = RateLimits(2, 3, clock=clock)
    for _ in range(3):
        rates.take("one")
    with pytest.raises(ProblemError, match=r"2 requests a second .* 3 at once .* in 0.5 s") as caught:
        rates.take("one")
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
    rates.take("other")
    clock.now += 0.5
    rates.take("one")


def test_places_are_given_back_also_after_an_error() -> None:
    places = Places(1)
    with pytest.raises(ValueError, match="a fault"), places.place():
        raise ValueError("a fault")
    with places.place(), pytest.raises(ProblemError) as caught, places.place():
        pass
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")
    assert places.num_taken == 0


def test_a_body_is_refused_as_soon_as_it_is_too_large() -> None:
    bodies = Bodies(10, 15)
    with bodies.meter() as meter:
        meter.add(10)
        with pytest.raises(ProblemError, match="more than 10 bytes") as caught:
            meter.add(1)
        assert caught.value.status == 413
        with bodies.meter() as other, pytest.raises(ProblemError, match="too many bytes") as caught:
            other.add(6)
        assert caught.value.status == 503
    assert bodies.num_bytes == 0
