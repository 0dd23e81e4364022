"""How much is taken at once, and how often: bytes, requests, and requests a second of each key (pure)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stream_app.edge.problems import ProblemError

__all__ = ["Bodies", "BodyMeter", "Places", "RateLimits", "TokenBucket"]

RETRY_SECONDS = "1"


class TokenBucket:
    """Lets a number of requests through at once, and so many a second on average.

    Args:
        per_second: how fast it fills.
        burst: how many it holds; it begins full.
        now: seconds on the clock that `take` is asked with.
    """

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = now

    def take(self, cost: float, now: float) -> float:
        """Take tokens if they are there; returns 0, else the seconds until they will be.

        A cost above the burst is let through once the bucket is full, and paid back afterwards.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        needed = min(cost, self._burst)
        # A nanosecond's worth less is enough: otherwise floats could ask to come again for ever.
        if self._tokens >= needed - 1e-9 * self._per_second:
            self._tokens -= cost
            return 0.0
        return (needed - self._tokens) / self._per_second


class RateLimits:
    """A bucket for each key; there are as many as keys, so clients add none.

    Args:
        per_second: requests a second of each.
        burst: of them at once.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, name: str, cost: int = 1) -> None:
        """Count requests of a key.

        Raises:
            ProblemError: 429, with the seconds to wait.
        """
        now = self._clock()
        bucket = self._buckets.setdefault(name, TokenBucket(self._per_second, self._burst, now))
        seconds = bucket.take(cost, now)
        if seconds:
            raise ProblemError(
                429,
                "too-many-requests",
                f"{self._per_second:g} requests a second are allowed, {self._burst} at once (a product in a"
                f" list counts as one); come again in {seconds:.1f} s",
                headers={"Retry-After": str(math.ceil(seconds))},
            )


class Places:
    """How many may be at something at once."""

    def __init__(self, num_places: int) -> None:
        self._num_places = num_places
        self.num_taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for the length of a `with` block.

        Raises:
            ProblemError: 503, none is free.
        """
        if self.num_taken >= self._num_places:
            raise ProblemError(
                503,
                "unavailable",
                f"{self._num_places} requests are being answered already; come again in a second",
                headers={"Retry-After": RETRY_SECONDS},
            )
        self.num_taken += 1
        try:
            yield
        finally:
            self.num_taken -= 1


class Bodies:
    """The bodies that are worked on: each within a limit, and all of them together within another.

    Args:
        max_body_bytes: of one.
        max_bytes: of all.
    """

    def __init__(self, max_body_bytes: int, max_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self._max_bytes = max_bytes
        self.num_bytes = 0

    @contextmanager
    def meter(self) -> Iterator[BodyMeter]:
        """What counts one body; its bytes are given back at the end of the `with` block."""
        meter = BodyMeter(self)
        try:
            yield meter
        finally:
            self.num_bytes -= meter.num_bytes

    def take(self, num_bytes: int, of_body: int) -> None:
        """Count bytes of a body that has so many by now.

        Raises:
            ProblemError: 413 where the body is too large, 503 where all of them are.
        """
        self.check(of_body)
        if self.num_bytes + num_bytes > self._max_bytes:
            raise ProblemError(
                503,
                "unavailable",
                "too many bytes are being worked on already; come again in a second",
                headers={"Retry-After": RETRY_SECONDS},
            )
        self.num_bytes += num_bytes

    def check(self, num_bytes: int) -> None:
        """Make sure that a body of this size may be taken.

        Raises:
            ProblemError: 413, with the limit.
        """
        if num_bytes > self.max_body_bytes:
            raise ProblemError(
                413,
                "too-large",
                f"the body has more than {self.max_body_bytes} bytes ({mebibytes(self.max_body_bytes)}), the"
                " limit; send a picture by its address, or fewer products at once",
                headers={"Connection": "close"},
                limit_bytes=self.max_body_bytes,
            )


@dataclass(slots=True)
class BodyMeter:
    """Counts one body while it streams in."""

    bodies: Bodies
    num_bytes: int = 0

    def add(self, num_bytes: int) -> None:
        """Count a piece.

        Raises:
            ProblemError: the body, or all of them together, are too large.
        """
        self.bodies.take(num_bytes, self.num_bytes + num_bytes)
        self.num_bytes += num_bytes


def mebibytes(num_bytes: int) -> str:
    """A size for people."""
    return f"{num_bytes / 2**20:.1f} MiB"
