"""What a batch is between two stages: decoded, prepared, scored; frozen, and none reaches back.

Each stage carries the records it had to reject, so that every record leaves as a result or as a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.labels import LabelSet
from schemas.assignments import ModelReference
from schemas.dead_letters import SOURCE_HEADER, Stage
from schemas.products import ProductListed
from schemas.trace_context import read_trace_context
from stream_app.batching import Record
from stream_app.places import read_place

if TYPE_CHECKING:
    from models.inputs import (
        PreparedBatch,
        Scores,
    )  # with torch, which a command that reads topics can do without


def origin(record: Record) -> str:
    """`topic-partition-offset` where a record first came in; a replayed one says it in a header.

    It is the id of an event that has none, so that a replay does not change what is derived from it.
    """
    told = (dict(record.headers).get(SOURCE_HEADER) or b"").decode(errors="replace")
    place = read_place(told)
    if place is not None and place[0] == record.topic:
        return told
    return f"{record.topic}-{record.partition}-{record.offset}"


def named(record: Record, event_id: str | None = None) -> dict[str, str]:
    """What a log line about an event names, for `extra`: its id, where it came from and its trace.

    Args:
        record: that holds the event.
        event_id: its id, where that could be read.
    """
    source, context = origin(record), read_trace_context(record.headers)
    trace = {} if context is None else {"trace_id": context.trace_id}
    return {"event_id": event_id or source, "source": source, **trace}


@dataclass(frozen=True, slots=True)
class Listing:
    """A record and the listing it holds.

    Attributes:
        record: as it came.
        product: the listing; without its picture where that is skipped.
        picture_skipped: whether it has a picture that nobody has to look at.
    """

    record: Record
    product: ProductListed
    picture_skipped: bool = False

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset of the record."""
        return self.record.topic, self.record.partition, self.record.offset


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot go on.

    Attributes:
        record: as it came.
        error: what says why.
        stage: where it was raised.
        event_id: of the event in it, or `None` where it could not be read so far.
    """

    record: Record
    error: Exception
    stage: Stage
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """The listings of a batch, in order, the records that hold none, and the delistings counted."""

    listings: Sequence[Listing]
    rejected: Sequence[Rejected] = ()
    num_delistings: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """Listings and what the network takes of them, row for row; ``inputs`` is None when there are none."""

    listings: Sequence[Listing]
    inputs: PreparedBatch | None
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """Listings, their inputs and their scores, row for row, and the version that gave them."""

    listings: Sequence[Listing]
    inputs: PreparedBatch | None
    scores: Scores | None
    model: ModelReference
    labels: LabelSet
    rejected: Sequence[Rejected] = ()
