"""From records to messages: what cannot be one is rejected alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.base import Message
from schemas.codec import decode
from schemas.dead_letters import Stage
from schemas.errors import MessageError
from stream_app.batching import Record
from stream_app.stages import Rejected, origin

__all__ = ["Messages", "decode_each"]

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Messages(Generic[M]):
    """The messages of a batch with their records, in order, and the records that hold none."""

    read: Sequence[tuple[Record, M]]
    rejected: Sequence[Rejected]
    num_tombstones: int


def decode_each(kind: type[M], records: Iterable[Record], *, max_bytes: int) -> Messages[M]:
    """Read every record; tombstones are counted.

    Args:
        kind: what they should be.
        records: as received.
        max_bytes: of one value; a larger one is rejected.
    """
    read, rejected, num_tombstones = [], [], 0
    for record in records:
        if record.value is None:
            num_tombstones += 1
            continue
        try:
            message = decode(
                kind, record.value, record.headers, default_event_id=origin(record), max_bytes=max_bytes
            )
        except MessageError as error:
            rejected.append(Rejected(record, error, Stage.DECODE))
        else:
            read.append((record, message))
    return Messages(read, rejected, num_tombstones)
