"""Records with a header name that is not UTF-8: Kafka takes them, and aiokafka cannot read them.

aiokafka 0.14 raises UnicodeDecodeError at such a record, again and again, so that nobody gets past it: one
record of a careless producer would end every worker. The Java client puts U+FFFD for what it cannot decode,
and so does this. Batches without such a name, all but a few, are read as before, by aiokafka's compiled code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

__all__ = ["LenientRecords", "read_any_header_name"]

_BATCH_START = struct.Struct(">qi")
"""Base offset, and the length of what follows it in the batch."""


def read_any_header_name() -> None:
    """Have all consumers of this process read such records; calling it again changes nothing."""
    fetcher.MemoryRecords = LenientRecords


class LenientRecords:
    """Takes the place of aiokafka's MemoryRecords: the batches of a fetch, one after the other.

    Args:
        data: as the broker sent it; what is behind the last whole batch is left out.
    """

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._rest = memoryview(data or b"")

    def size_in_bytes(self) -> int:
        """Of all batches."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Whether there is another batch."""
        return bool(self._records.has_next())

    def next_batch(self) -> LenientBatch | None:
        """The next batch, or None behind the last."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        _, length = _BATCH_START.unpack_from(self._rest)
        size = _BATCH_START.size + length
        found, self._rest = self._rest[:size], self._rest[size:]
        return LenientBatch(batch, found)


class LenientBatch:
    """A batch of aiokafka with everything it offers; only iterating it differs.

    Args:
        batch: as aiokafka reads it.
        data: the bytes it is read from.
    """

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return iter(_LenientBatchPy(bytes(self._data)))


class _LenientBatchPy(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka is read without types
    """aiokafka's reader in Python, given bytes that never fail to decode."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _LenientBuffer(self._buffer)


class _LenientBuffer(bytearray):
    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _LenientText(found) if isinstance(place, slice) else found


class _LenientText(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, "replace" if errors == "strict" else errors)
