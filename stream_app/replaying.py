"""Which dead letters go back, where to, and what is remembered of it; pure."""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.dead_letters import (
    BATCH_HEADER,
    ORIGINAL_HEADERS_HEADER,
    ORIGINAL_KEY_SIZE_HEADER,
    ORIGINAL_SHA256_HEADER,
    ORIGINAL_SIZE_HEADER,
    Failure,
    Reason,
    Stage,
    read_failure,
)
from stream_app.batching import Record
from stream_app.places import read_place

MAX_METADATA_BYTES = 4_000
"""Below Kafka's default of ``offset.metadata.max.bytes`` (4,096), with room for the topic's id."""


class Refusal(StrEnum):
    """Why a letter is not sent back."""

    FOREIGN = "foreign"
    CUT = "cut"
    BATCH = "batch"
    UNKNOWN_SOURCE = "unknown_source"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; an empty collection or None means all."""

    reasons: Collection[Reason] = ()
    stages: Collection[Stage] = ()
    topic: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.reasons or self.stages or self.topic)

    def has(self, failure: Failure | None) -> bool:
        """Whether a letter is meant; a foreign record only when everything is."""
        if failure is None:
            return self.is_everything
        return (
            (not self.reasons or failure.reason in self.reasons)
            and (not self.stages or failure.stage in self.stages)
            and (self.topic is None or source_topic(failure) == self.topic)
        )


def source_topic(failure: Failure) -> str:
    """The topic a letter came from; empty when its source is damaged."""
    place = source_place(failure)
    return place[0] if place else ""


def source_place(failure: Failure) -> tuple[str, int] | None:
    """Topic and partition a letter came from; None when its source is damaged."""
    place = read_place(failure.source)
    return None if place is None else place[:2]


def refusal(letter: Record, *, topics: Collection[str], max_attempts: int) -> tuple[Refusal, str] | None:
    """Why a letter cannot be sent back, and a line that says it; None when it can.

    Args:
        letter: the record of the dead-letter topic.
        topics: where letters may go back to.
        max_attempts: tries after which a letter is left alone.
    """
    failure = read_failure(letter.headers)
    if failure is None:
        return Refusal.FOREIGN, "it has no headers of Shelver"
    headers = dict(letter.headers)
    if headers.keys() & {ORIGINAL_SIZE_HEADER, ORIGINAL_HEADERS_HEADER, ORIGINAL_KEY_SIZE_HEADER}:
        size = (headers.get(ORIGINAL_SIZE_HEADER) or b"?").decode(errors="replace")
        digest = (headers.get(ORIGINAL_SHA256_HEADER) or b"?").decode(errors="replace")
        return Refusal.CUT, f"only its beginning was kept; the value had {size} bytes, sha256 {digest}"
    if BATCH_HEADER in headers:
        return Refusal.BATCH, "it is a whole batch of records, which cannot be unpacked"
    if source_topic(failure) not in topics:
        return Refusal.UNKNOWN_SOURCE, f"{failure.source!r} is in no topic that the service reads"
    if failure.attempts >= max_attempts:
        return Refusal.TOO_MANY_ATTEMPTS, f"it was tried {failure.attempts} times; see --max-attempts"
    return None


@dataclass(slots=True)
class Memory:
    """What was dealt with in one partition of the dead-letter topic, holes included.

    Committed as an offset, before which everything is done, and ranges after it as the commit's metadata,
    such as ``12-15,20``: a replay of chosen letters neither repeats them later nor hides the others.

    Attributes:
        offset: Everything before it is done.
        ranges: First and last offset of what is done after it, in order, never touching.
    """

    offset: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def read(cls, offset: int, metadata: str) -> "Memory":
        """The memory that was committed; damaged metadata reads as none."""
        try:
            pairs = [part.partition("-") for part in metadata.split(",") if part]
            return cls(offset, [(int(first), int(last or first)) for first, _, last in pairs])
        except ValueError:
            return cls(offset)

    def has(self, offset: int) -> bool:
        """Whether a letter was dealt with."""
        return offset < self.offset or any(first <= offset <= last for first, last in self.ranges)

    def add(self, offset: int) -> None:
        """Remember a letter."""
        if self.has(offset):
            return
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, (offset, offset)]):
            if merged and first == merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        if merged[0][0] <= self.offset:
            self.offset = merged.pop(0)[1] + 1
        self.ranges = merged

    def skip_to(self, offset: int) -> None:
        """Forget what was before: Kafka has deleted it."""
        if offset > self.offset:
            self.ranges = [(max(first, offset), last) for first, last in self.ranges if last >= offset]
            self.offset = self.ranges.pop(0)[1] + 1 if self.ranges and self.ranges[0][0] == offset else offset

    @property
    def metadata(self) -> str:
        """The ranges as text."""
        return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in self.ranges)

    @property
    def is_full(self) -> bool:
        """Whether the next hole might not fit into a commit."""
        return len(self.metadata) + 45 > MAX_METADATA_BYTES
