"""Batches that aiokafka cannot read, or not within bounds: Kafka takes them from any producer.

- A header name that is not UTF-8: aiokafka 0.14 raises UnicodeDecodeError at such a record, again and again,
  so that nobody gets past it. The Java client puts U+FFFD for what it cannot decode, and so does this.
- A compressed batch that unpacks to more than memory holds (6 kB of zstd can be 200 MB): aiokafka unpacks it
  whole. Here it becomes one record with `schemas.dead_letters.BATCH_HEADER`, which leaves as a dead letter.
- A response full of batches that unpack to much each: what is beyond a bound is fetched again later.

Batches without any of that, all but a few, are read by aiokafka's compiled code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import (
    DefaultRecordBatch,
    _DefaultRecordBatchPy,
    _DefaultRecordPy,
)
from aiokafka.record.memory_records import MemoryRecords

from schemas.dead_letters import BATCH_HEADER
from stream_app.codecs import CODEC_NAMES, UnpackError, unpack

__all__ = ["BoundedBatch", "BoundedRecords", "read_any_batch"]

_BATCH_START = struct.Struct(">qi")
"""Base offset, and the length of what follows it in the batch."""
_HEADER_BYTES = 61
_ATTRIBUTES = slice(21, 23)
_CODEC_MASK = 0x07
_NUM_RECORDS = slice(57, 61)


def read_any_batch(max_unpacked_bytes: int) -> None:
    """Have all consumers of this process read such batches.

    Args:
        max_unpacked_bytes: the most that one batch may unpack to, and about the most of one response.
    """
    fetcher.MemoryRecords = partial(BoundedRecords, max_unpacked_bytes=max_unpacked_bytes)


class BoundedRecords:
    """Takes the place of aiokafka's MemoryRecords: the batches of a fetch, one after the other.

    Args:
        data: as the broker sent it; what is behind the last whole batch is left out.
        max_unpacked_bytes: after so many bytes of unpacked records the rest is left out, to be fetched again.
    """

    def __init__(self, data: bytes, *, max_unpacked_bytes: int) -> None:
        self._records = MemoryRecords(data)
        self._rest = memoryview(data or b"")
        self._max_unpacked_bytes = max_unpacked_bytes
        self._num_unpacked_bytes = 0

    def size_in_bytes(self) -> int:
        """Of all batches."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Whether there is another batch within the bound."""
        return self._num_unpacked_bytes < self._max_unpacked_bytes and bool(self._records.has_next())

    def next_batch(self) -> BoundedBatch | None:
        """The next batch, or None behind the last."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        _, length = _BATCH_START.unpack_from(self._rest)
        size = _BATCH_START.size + length
        found, self._rest = self._rest[:size], self._rest[size:]
        return BoundedBatch(batch, found, self._unpack)

    def _unpack(self, data: memoryview) -> bytes:
        """A compressed batch as it were had it not been compressed."""
        attributes = int.from_bytes(data[_ATTRIBUTES], "big")
        records = unpack(attributes & _CODEC_MASK, bytes(data[_HEADER_BYTES:]), self._max_unpacked_bytes)
        self._num_unpacked_bytes += len(records)
        header = bytearray(data[:_HEADER_BYTES])
        header[_ATTRIBUTES] = (attributes & ~_CODEC_MASK).to_bytes(2, "big")
        return bytes(header) + records


class BoundedBatch:
    """A batch of aiokafka with everything it offers; only iterating it differs.

    Args:
        batch: as aiokafka reads it.
        data: the bytes it is read from.
        unpack: gives the bytes of a compressed batch as a plain one.
    """

    def __init__(self, batch: Any, data: memoryview, unpack: Any) -> None:
        self._batch = batch
        self._data = data
        self._unpack = unpack

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        if not self._batch.compression_type:
            return _records(self._batch, self._data)
        try:
            plain = self._unpack(self._data)
        except UnpackError as error:
            return iter([self._unreadable(error)])
        return _records(DefaultRecordBatch(plain), plain)

    def _unreadable(self, error: UnpackError) -> Any:
        """The batch as one record, at its last offset, so that all of it is acknowledged with it."""
        num_records = int.from_bytes(self._data[_NUM_RECORDS], "big")
        codec = CODEC_NAMES[self._batch.compression_type]
        message = f"a batch of {num_records} records, compressed with {codec}, cannot be unpacked: {error}"
        return _DefaultRecordPy(
            self._batch.next_offset - 1,
            self._batch.max_timestamp,
            self._batch.timestamp_type,
            None,
            bytes(self._data),
            [(BATCH_HEADER, message.encode())],
        )


def _records(batch: Any, data: bytes | memoryview) -> Iterator[Any]:
    """The records of a plain batch, the compiled way as far as it gets."""
    num_read = 0
    try:
        for record in batch:
            yield record
            num_read += 1
    except UnicodeDecodeError:
        pass
    else:
        return
    yield from islice(_LenientBatchPy(bytes(data)), num_read, None)


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
