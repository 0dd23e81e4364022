"""What streams through now: the latest categories and dead letters, counts and rates (pure)."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, Field

from schemas.assignments import AssignedCategory, CategoryAssigned, Modalities, ModelReference
from schemas.dead_letters import Failure
from stream_app.edge.reading import Arrival

__all__ = ["Live", "LiveAnswer"]

MAX_LATEST: Final = 200
MAX_DEAD_LETTERS: Final = 100
RATE_SECONDS: Final = 60
CATEGORIES_OF: Final = 1_000
"""Over how many of the latest categories they are counted."""


class LiveAssignment(BaseModel):
    """A category that came out."""

    sequence: int = Field(description="Rises by one for each that came to this gateway.")
    at: datetime = Field(description="When it was written.")
    event_id: str = Field(description="The event; its listing is at `/v1/products/{event_id}/listing`.")
    product_id: str = Field(description="The product.")
    category: AssignedCategory = Field(description="Its category.")
    modalities: Modalities = Field(description="What it rests on.")
    image_reason: str | None = Field(description="Why its picture was unavailable.")
    model: ModelReference = Field(description="The version that decided.")


class LiveDeadLetter(BaseModel):
    """An event that could not be served."""

    sequence: int = Field(description="Rises by one for each that came to this gateway.")
    at: datetime = Field(description="When it was written.")
    event_id: str | None = Field(description="The event, where it could be read.")
    product_id: str = Field(description="The key of the record.")
    stage: str = Field(description="Where it failed.")
    reason: str = Field(description="Why, a short code.")
    message: str = Field(description="Why, in words.")
    source: str = Field(description="`topic-partition-offset` of the record.")


class LiveCategory(BaseModel):
    """How often a category came out lately."""

    category: AssignedCategory = Field(description="The category, as it came out last.")
    count: int = Field(description="Of the latest 1,000 categories.")


class LiveAnswer(BaseModel):
    """What streams through, as this gateway sees it since it runs; the past that it read is listed too."""

    sequence: int = Field(description="Of the latest; ask for what came `since` it.")
    assigned: int = Field(description="Categories that came since the gateway runs.")
    explained: int = Field(description="Explanations.")
    dead_letters: int = Field(description="Dead letters.")
    assigned_per_second: float = Field(description="Over the last minute.")
    dead_letters_per_second: float = Field(description="Over the last minute.")
    categories: list[LiveCategory] = Field(description="The most frequent first.")
    latest: list[LiveAssignment] = Field(description="The latest categories, newest first.")
    failed: list[LiveDeadLetter] = Field(description="The latest dead letters, newest first.")


class _Rate:
    """Events of each of the last seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._counts: deque[tuple[int, int]] = deque()

    def count(self) -> None:
        second = int(self._clock())
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1] = (second, self._counts[-1][1] + 1)
        else:
            self._counts.append((second, 1))
        self._forget(second)

    def per_second(self) -> float:
        now = self._clock()
        self._forget(int(now))
        seconds = min(RATE_SECONDS, max(1.0, now - self._began))
        return round(sum(count for _, count in self._counts) / seconds, 2)

    def _forget(self, second: int) -> None:
        while self._counts and self._counts[0][0] <= second - RATE_SECONDS:
            self._counts.popleft()


class Live:
    """Watches what arrives; of each kind the latest are kept.

    Args:
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.sequence = 0
        self._latest: deque[LiveAssignment] = deque(maxlen=MAX_LATEST)
        self._failed: deque[LiveDeadLetter] = deque(maxlen=MAX_DEAD_LETTERS)
        self._categories: deque[AssignedCategory] = deque(maxlen=CATEGORIES_OF)
        self._assigned_rate, self._failed_rate = _Rate(clock), _Rate(clock)
        self._num_assigned = self._num_explained = self._num_failed = 0

    def take(self, arrival: Arrival, *, is_past: bool = False) -> None:
        """Take in what arrived; what is past is listed and not counted."""
        self.sequence += 1
        at = datetime.fromtimestamp(max(0, arrival.result.at_ms) / 1000, UTC)
        outcome = arrival.result.outcome
        if isinstance(outcome, Failure):
            self._failed.append(_dead_letter(self.sequence, at, arrival, outcome))
            if not is_past:
                self._num_failed += 1
                self._failed_rate.count()
        elif isinstance(arrival.message, CategoryAssigned):
            self._latest.append(_assignment(self.sequence, at, arrival.message))
            self._categories.append(arrival.message.category)
            if not is_past:
                self._num_assigned += 1
                self._assigned_rate.count()
        elif not is_past:
            self._num_explained += 1

    def answer(self, *, since: int = 0, most: int = MAX_LATEST) -> LiveAnswer:
        """What there is to tell.

        Args:
            since: a sequence; what came up to it is not listed again.
            most: of each kind that are listed.
        """
        counts = Counter(category.code for category in self._categories)
        last = {category.code: category for category in self._categories}
        return LiveAnswer(
            sequence=self.sequence,
            assigned=self._num_assigned,
            explained=self._num_explained,
            dead_letters=self._num_failed,
            assigned_per_second=self._assigned_rate.per_second(),
            dead_letters_per_second=self._failed_rate.per_second(),
            categories=[
                LiveCategory(category=last[code], count=count) for code, count in counts.most_common()
            ],
            latest=[each for each in reversed(self._latest) if each.sequence > since][:most],
            failed=[each for each in reversed(self._failed) if each.sequence > since][:most],
        )


def _assignment(sequence: int, at: datetime, message: CategoryAssigned) -> LiveAssignment:
    return LiveAssignment(
        sequence=sequence,
        at=at,
        event_id=message.event_id,
        product_id=message.product_id,
        category=message.category,
        modalities=message.modalities,
        image_reason=message.image_reason,
        model=message.model,
    )


def _dead_letter(sequence: int, at: datetime, arrival: Arrival, failure: Failure) -> LiveDeadLetter:
    return LiveDeadLetter(
        sequence=sequence,
        at=at,
        event_id=arrival.subject.identifier if arrival.subject else None,
        product_id=arrival.result.product_id,
        stage=str(failure.stage),
        reason=str(failure.reason),
        message=failure.message,
        source=failure.source,
    )
