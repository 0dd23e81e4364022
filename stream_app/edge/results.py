"""The latest results by the id they answer, within a bound of bytes, and who waits for which.

Records of the result topics come in, whoever asked for them; each gateway sees all of them, so any of them
can answer. What is kept is the JSON as the worker wrote it, which is as large as it looks; it is parsed when
somebody asks for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.dead_letters import Failure

__all__ = ["Kind", "Result", "Results", "Subject"]

OVERHEAD_BYTES: Final = 500
"""What a result takes beside its value, about."""


class Kind(StrEnum):
    """What a result is about."""

    LISTING = "listing"
    QUESTION = "question"


class Subject(NamedTuple):
    """What a result answers: a listing by its event id, or a question by its request id."""

    kind: Kind
    identifier: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a listing or a question.

    Attributes:
        product_id: the product; empty where the record does not say.
        outcome: the JSON of the message that answers it, or why there is none.
        at_ms: when it was written.
    """

    product_id: str
    outcome: bytes | Failure
    at_ms: int

    @property
    def num_bytes(self) -> int:
        """About what it takes in memory."""
        size = len(self.outcome) if isinstance(self.outcome, bytes) else len(self.outcome.message)
        return OVERHEAD_BYTES + size


class Results:
    """Keeps results, and wakes those who wait; used on one event loop.

    Args:
        max_bytes: of what is kept; the oldest give way.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._results: OrderedDict[Subject, Result] = OrderedDict()
        self._waiting: dict[Subject, set[asyncio.Future[Result]]] = {}
        self._is_closed = False
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._results)

    @property
    def num_waiting(self) -> int:
        """How many wait for a result."""
        return sum(map(len, self._waiting.values()))

    def put(self, subject: Subject, result: Result) -> None:
        """Take a result in; of several of one subject the latest counts.

        Records of one subject come from several topics, and not in order when they are read from the past.
        """
        known = self._results.get(subject)
        if known is not None and known.at_ms > result.at_ms:
            return
        if known is not None:
            self._drop(subject)
        self._results[subject] = result
        self.num_bytes += result.num_bytes
        while self.num_bytes > self._max_bytes and self._results:
            self._drop(next(iter(self._results)))
        for future in self._waiting.pop(subject, ()):
            if not future.done():
                future.set_result(result)

    def get(self, subject: Subject) -> Result | None:
        """The latest result of a subject; None where there is none, or no more."""
        return self._results.get(subject)

    def close(self) -> None:
        """Have nobody wait any more, now or later: their futures are cancelled."""
        self._is_closed = True
        for future in [each for futures in self._waiting.values() for each in futures]:
            future.cancel()

    @contextmanager
    def awaited(self, subject: Subject) -> Iterator[asyncio.Future[Result]]:
        """A future of the result of a subject, done at once where it is known already; see `close`.

        Whoever asks for it before the question is published cannot miss the answer, also when it is not kept
        for long.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        known = self._results.get(subject)
        if known is not None or self._is_closed:
            future.cancel() if known is None else future.set_result(known)
            yield future
            return
        waiting = self._waiting.setdefault(subject, set())
        waiting.add(future)
        try:
            yield future
        finally:
            waiting.discard(future)
            future.cancel()
            if not waiting and self._waiting.get(subject) is waiting:
                del self._waiting[subject]

    def _drop(self, subject: Subject) -> None:
        self.num_bytes -= self._results.pop(subject).num_bytes
