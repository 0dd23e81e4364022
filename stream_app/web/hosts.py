"""Which servers are left alone for a while because they do not answer (pure)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from yarl import URL

from stream_app.web.errors import FetchError, FetchReason
from stream_app.web.urls import origin

__all__ = ["HostPauses"]


class HostPauses:
    """Remembers servers that do not answer, so that one of them cannot slow everything.

    After `FAILURES_BEFORE_PAUSE` timeouts or failed connections in a row a host is left alone for a while;
    its addresses are unavailable at once then. At most `MAX_HOSTS` are remembered.

    Args:
        pause_seconds: how long; 0 leaves no host alone.
        clock: seconds on a clock that never goes back.
    """

    FAILURES_BEFORE_PAUSE = 5
    MAX_HOSTS = 1_024

    def __init__(self, pause_seconds: float, *, clock: Callable[[], float]) -> None:
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, address: URL) -> None:
        """Raise FetchError while the host is left alone."""
        num_failures, last = self._failures.get(origin(address), (0, 0.0))
        if num_failures >= self.FAILURES_BEFORE_PAUSE and self._clock() - last < self._pause_seconds:
            raise FetchError(
                FetchReason.UNAVAILABLE,
                f"{origin(address)} failed {num_failures} times in a row and is left alone "
                f"for {self._pause_seconds:g} s",
            )

    def failed(self, address: URL, reason: FetchReason) -> None:
        """Take note of a failure, if it is the kind a pause can spare."""
        if reason not in (FetchReason.TIMEOUT, FetchReason.UNAVAILABLE):
            return
        host = origin(address)
        num_failures, _ = self._failures.pop(host, (0, 0.0))
        self._failures[host] = (num_failures + 1, self._clock())
        if len(self._failures) > self.MAX_HOSTS:
            self._failures.popitem(last=False)

    def worked(self, address: URL) -> None:
        """Forget a host's failures."""
        self._failures.pop(origin(address), None)
