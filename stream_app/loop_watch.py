"""Whether the event loop turns: how late it is, and the end of the process when it stands still.

A loop that stands still cannot report itself, answer a probe or leave the group in order, so a plain thread
watches it. Code that holds the interpreter lock for ever stops that thread too: then only an answer that
stays away tells, which is what a liveness probe is for.
"""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.1
WINDOW_SECONDS = 60.0
EXIT_STALLED = 1
LOG_SECONDS = 5.0


class LargestLately:
    """The largest value of the last ``WINDOW_SECONDS``: it outlives the pause between two scrapes."""

    def __init__(self) -> None:
        self._values: deque[tuple[float, float]] = deque()

    def add(self, value: float, now: float) -> float:
        """Take a value in at ``now`` (seconds); returns the largest."""
        while self._values and self._values[-1][1] <= value:
            self._values.pop()
        self._values.append((now, value))
        while self._values[0][0] <= now - WINDOW_SECONDS:
            self._values.popleft()
        return self._values[0][1]


class StandstillDetector:
    """Counts looks at a beat that did not change; time in which the watcher slept too does not count.

    Args:
        max_looks: so many looks at the same beat are a standstill.
    """

    def __init__(self, max_looks: int) -> None:
        self._max_looks = max_looks
        self._beat = -1
        self._num_same = 0

    def look(self, beat: int) -> bool:
        """Whether the loop stands still, given the number of its beats so far."""
        self._num_same = self._num_same + 1 if beat == self._beat else 0
        self._beat = beat
        return self._num_same >= self._max_looks


class LoopWatch:
    """A task that beats on the loop, and a thread that ends the process when the beat stays away.

    Args:
        limit_seconds: longest standstill.
        on_lag: told, at each beat, the largest lateness of the last minute, in seconds.
    """

    def __init__(self, limit_seconds: float, *, on_lag: Callable[[float], None]) -> None:
        self._limit_seconds = limit_seconds
        self._on_lag = on_lag
        self._beat = 0
        self._loop_thread = 0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Watch the thread that calls this, whose loop is to `run`."""
        self._loop_thread = threading.get_ident()
        threading.Thread(target=self._watch, name="loop watch", daemon=True).start()

    def stop(self) -> None:
        """Let the thread go."""
        self._stopped.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        lately = LargestLately()
        while True:
            due = time.monotonic() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            self._beat += 1
            self._on_lag(lately.add(max(0.0, now - due), now))

    def _watch(self) -> None:
        pause = min(1.0, self._limit_seconds / 4)
        detector = StandstillDetector(round(self._limit_seconds / pause))
        while not self._stopped.wait(pause):
            if detector.look(self._beat):
                self._end()

    def _end(self) -> None:
        # The loop may hang in a log line itself and hold the lock of the handler.
        last = threading.Timer(LOG_SECONDS, os._exit, (EXIT_STALLED,))
        last.daemon = True
        last.start()
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, for debuggers
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(unknown)"
        logger.error(
            "the event loop has not turned for %g s; the process ends, what is unfinished is read again",
            self._limit_seconds,
        )
        for line in stack.splitlines():
            logger.error("loop stack: %s", line.strip())
        os._exit(EXIT_STALLED)
