"""What became of published events: counts, latencies and what is missing, by the brokers' clock (pure)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["EventTally", "TallySummary", "percentile"]


@dataclass(frozen=True, slots=True)
class TallySummary:
    """How a run ended.

    Attributes:
        published: events whose delivery was confirmed.
        assigned: of these, how many have a category.
        dead_lettered: how many have a dead letter and no category.
        lost: how many have neither.
        duplicates: outputs beyond the first of an event.
        seconds: from the first event on the brokers to the last output.
        events_per_second: events with an output in that time.
        p50_ms: median age of an event when its first output was on the brokers, in milliseconds.
        p99_ms: the age that 99 % stay below.
    """

    published: int
    assigned: int
    dead_lettered: int
    lost: int
    duplicates: int
    seconds: float
    events_per_second: float
    p50_ms: float
    p99_ms: float


class EventTally:
    """Joins events and outputs by the event's place on Kafka, `topic-partition-offset`, in any order."""

    def __init__(self) -> None:
        self._published_ms: dict[str, int] = {}
        self._assigned_ms: dict[str, int] = {}
        self._dead_letter_ms: dict[str, int] = {}
        self._num_outputs: Counter[str] = Counter()
        self._last_output_ms: dict[str, int] = {}

    def published(self, source: str, timestamp_ms: int) -> None:
        """Take note of an event that the brokers confirmed, with their timestamp."""
        self._published_ms[source] = timestamp_ms

    def assigned(self, source: str, timestamp_ms: int) -> None:
        """Take note of a category, with its timestamp on the brokers."""
        self._take(self._assigned_ms, source, timestamp_ms)

    def dead_lettered(self, source: str, timestamp_ms: int) -> None:
        """Take note of a dead letter, with its timestamp on the brokers."""
        self._take(self._dead_letter_ms, source, timestamp_ms)

    def latency_ms(self, source: str) -> int | None:
        """Age of an event at its first output; None while one of the two is unknown."""
        output_ms = self._assigned_ms.get(source, self._dead_letter_ms.get(source))
        published_ms = self._published_ms.get(source)
        return None if output_ms is None or published_ms is None else output_ms - published_ms

    @property
    def num_published(self) -> int:
        """Events confirmed so far."""
        return len(self._published_ms)

    @property
    def num_answered(self) -> int:
        """Of these, how many have an output so far."""
        return len(self._published_ms.keys() & self._num_outputs.keys())

    def summary(self) -> TallySummary:
        """Count everything but outputs of events that somebody else published."""
        published = self._published_ms.keys()
        assigned = published & self._assigned_ms.keys()
        dead = (published & self._dead_letter_ms.keys()) - assigned
        latencies = [latency for source in published if (latency := self.latency_ms(source)) is not None]
        first_ms = min(self._published_ms.values(), default=0)
        last_ms = max((self._last_output_ms.get(source, 0) for source in published), default=0)
        seconds = max(0.0, (last_ms - first_ms) / 1000) if latencies else 0.0
        return TallySummary(
            published=len(published),
            assigned=len(assigned),
            dead_lettered=len(dead),
            lost=len(published) - len(assigned) - len(dead),
            duplicates=sum(max(0, self._num_outputs[source] - 1) for source in published),
            seconds=seconds,
            events_per_second=len(latencies) / seconds if seconds else 0.0,
            p50_ms=percentile(latencies, 0.5),
            p99_ms=percentile(latencies, 0.99),
        )

    def _take(self, outputs: dict[str, int], source: str, timestamp_ms: int) -> None:
        self._num_outputs[source] += 1
        self._last_output_ms[source] = max(self._last_output_ms.get(source, 0), timestamp_ms)
        outputs.setdefault(source, timestamp_ms)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank); 0 of none."""
    if not values:
        return 0.0
    return float(sorted(values)[max(0, math.ceil(share * len(values)) - 1)])
