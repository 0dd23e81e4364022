"""Who makes no progress: the rules of a stall, pure, with the times handed in.

A partition stalls when the brokers hold records that are not dealt with and nothing has moved for a while.
Its end comes from the brokers by a question of its own, never from the fetch loop, which may be what died.
Brokers that do not answer are no stall: their silence must not restart a fleet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from stream_app.acknowledgement import TopicPartition


class ProgressSettings(BaseModel):
    """How long nothing may move."""

    model_config = ConfigDict(frozen=True)

    stall_seconds: float = Field(
        120.0,
        ge=1,
        description="How long, in seconds, a partition may have records and come no further before the "
        "worker calls itself dead and exits; also the group not be joined, beyond a rebalance. Brokers that "
        "do not answer do not count.",
    )
    loop_stall_seconds: float = Field(
        60.0,
        ge=1,
        description="How long, in seconds, the event loop may stand still before the process ends, its stack "
        "in the log.",
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of one assigned partition at one time.

    Attributes:
        end: offset behind the last record, as the brokers say; None when they do not answer.
        fetched: where the consumer reads next, behind transaction markers and gaps too; None while unknown.
        undone: the first record that was handed over and is not done; None when all of them are done.
        works: whether the lane of the topic has finished something since the reading before.
        is_full: whether nothing was fetched since then because the lane has no room.
    """

    end: int | None
    fetched: int | None
    undone: int | None = None
    works: bool = False
    is_full: bool = False

    @property
    def position(self) -> int | None:
        """Up to where everything is dealt with; None while unknown."""
        return self.fetched if self.undone is None else self.undone

    @property
    def lag(self) -> int | None:
        """Records not dealt with, gaps counted; None while unknown; 0 behind the end of a log cut short."""
        if self.end is None or self.position is None:
            return None
        return max(0, self.end - self.position)

    @property
    def is_owed(self) -> bool:
        """Whether the brokers have, or may have, records that only this worker can deal with."""
        if self.end is None:
            return False
        return self.undone is not None or self.end > (self.fetched or 0)

    @property
    def waits_its_turn(self) -> bool:
        """Whether it stands still because others of its topic are worked on first."""
        return self.is_full if self.undone is None else self.works


@dataclass(frozen=True, slots=True)
class Stall:
    """A partition that owes records and has not moved for ``seconds``."""

    partition: TopicPartition
    lag: int | None
    seconds: float

    def __str__(self) -> str:
        lag = "an unknown number of" if self.lag is None else str(self.lag)
        return (
            f"{self.partition.topic}-{self.partition.partition} has {lag} records waiting and made no "
            f"progress for {self.seconds:.0f} s"
        )


class HeldFor:
    """Adds up how long something has been so, in steps of at most ``max_step_seconds``.

    A process that was frozen wakes up with a clock far ahead; only time that it was able to use counts.
    """

    def __init__(self, max_step_seconds: float) -> None:
        self._max_step_seconds = max_step_seconds
        self._last: float | None = None
        self.seconds = 0.0

    def break_off(self) -> None:
        """Note that something moved: it begins anew."""
        self.seconds, self._last = 0.0, None

    def observe(self, holds: bool, now: float) -> float:
        """Note whether it is so at ``now``; returns the seconds that it has been without a break."""
        if not holds:
            self.break_off()
            return 0.0
        if self._last is not None:
            self.seconds += min(now - self._last, self._max_step_seconds)
        self._last = now
        return self.seconds


@dataclass(slots=True)
class _Watched:
    held: HeldFor
    reading: Reading


class ProgressTracker:
    """Follows the partitions assigned to a worker; one that is taken away is forgotten.

    Args:
        max_step_seconds: longest time between two readings that counts whole.
    """

    def __init__(self, max_step_seconds: float) -> None:
        self._max_step_seconds = max_step_seconds
        self._watched: dict[TopicPartition, _Watched] = {}

    def update(self, readings: Mapping[TopicPartition, Reading], now: float) -> None:
        """Take in the readings of all partitions that are assigned at ``now`` (seconds)."""
        watched = {}
        for partition, reading in readings.items():
            before = self._watched.get(partition)
            each = _Watched(HeldFor(self._max_step_seconds) if before is None else before.held, reading)
            moved = before is not None and before.reading.position != reading.position
            if moved or reading.waits_its_turn:
                each.held.break_off()
            each.held.observe(reading.is_owed, now)
            watched[partition] = each
        self._watched = watched

    @property
    def lags(self) -> Mapping[TopicPartition, int]:
        """Records not dealt with, by assigned partition whose lag is known."""
        return {
            partition: each.reading.lag
            for partition, each in self._watched.items()
            if each.reading.lag is not None
        }

    def seconds_unfetched(self, topic: str) -> float:
        """How long a partition of a topic has had records of which none is handed over; 0 when none has."""
        return max(
            (
                each.held.seconds
                for partition, each in self._watched.items()
                if partition.topic == topic and each.reading.undone is None
            ),
            default=0.0,
        )

    def stalls(self, seconds: float) -> list[Stall]:
        """Partitions that have not moved for longer than ``seconds``, the worst first."""
        stalls = [
            Stall(partition, each.reading.lag, each.held.seconds)
            for partition, each in self._watched.items()
            if each.held.seconds > seconds
        ]
        return sorted(stalls, key=lambda stall: -stall.seconds)
