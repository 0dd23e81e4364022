"""Batches that aiokafka cannot read, or not within bounds, cost nobody anything."""

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record import default_records
from aiokafka.record.memory_records import MemoryRecords

from schemas.dead_letters import BATCH_HEADER
from stream_app.codecs import CODEC_NAMES
from stream_app.record_batches import BoundedRecords, read_any_batch
from tests.unencodable import RawName

Headers = list[tuple[str, bytes | None]]
NO_HEADERS: Headers = []
GOOD: Headers = [("ce_id", b"e-1"), ("é", None), ("trace", b"\xff\xfe")]
BAD: Headers = [("first", b"1"), (RawName(b"\xff\xfe"), b"2"), (RawName(b"na\xc3"), None), ("last", b"")]


def batch(
    base_offset: int, *records: Headers, value: bytes = b"\xff\xfevalue", compression: int = 0
) -> bytes:
    builder = default_records._DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 1 << 20)
    for number, headers in enumerate(records):
        assert builder.append(number, 7, b"\xff\xfekey", value, headers)
    data = bytearray(builder.build())
    data[:8] = base_offset.to_bytes(8, "big")
    return bytes(data)


def read(records: Any) -> list[tuple[int, bytes | None, bytes | None, Headers]]:
    found = []
    while records.has_next():
        each = records.next_batch()
        assert each.validate_crc()
        found += [(record.offset, record.key, record.value, list(record.headers)) for record in each]
    assert records.next_batch() is None
    return found


def bounded(data: bytes, *, max_unpacked_bytes: int = 2**20) -> BoundedRecords:
    return BoundedRecords(data, max_unpacked_bytes=max_unpacked_bytes)


@pytest.mark.parametrize("compression", range(5), ids=CODEC_NAMES)
def test_a_header_name_that_is_not_utf_8_and_what_is_around_it_are_read(compression: int) -> None:
    data = batch(0, GOOD) + batch(1, GOOD, BAD, NO_HEADERS, compression=compression) + batch(4, GOOD)
    with pytest.raises(UnicodeDecodeError):
        read(MemoryRecords(data))
    found = read(bounded(data))
    assert [offset for offset, *_ in found] == [0, 1, 2, 3, 4]
    assert {(key, value) for _, key, value, _ in found} == {(b"\xff\xfekey", b"\xff\xfevalue")}
    mended = [("first", b"1"), ("\ufffd\ufffd", b"2"), ("na\ufffd", None), ("last", b"")]
    assert [headers for *_, headers in found] == [GOOD, GOOD, mended, [], GOOD]


@pytest.mark.parametrize("compression", range(5), ids=CODEC_NAMES)
def test_other_batches_are_read_as_before(compression: int) -> None:
    data = batch(0, GOOD, NO_HEADERS, compression=compression) + batch(2, NO_HEADERS)
    assert read(bounded(data)) == read(MemoryRecords(data))
    assert read(bounded(data + batch(3, GOOD)[:40])) == read(MemoryRecords(data))
    each = bounded(data).next_batch()
    assert each is not None
    assert (each.base_offset, each.next_offset, each.is_control_batch) == (0, 2, False)
    assert bounded(data).size_in_bytes() == len(data)


@pytest.mark.parametrize("compression", range(1, 5), ids=CODEC_NAMES[1:])
def test_a_batch_that_unpacks_to_too_much_becomes_one_record(compression: int) -> None:
    bomb = batch(1, GOOD, NO_HEADERS, value=bytes(300_000), compression=compression)
    found = read(bounded(batch(0, GOOD) + bomb + batch(3, GOOD), max_unpacked_bytes=500_000))
    assert [offset for offset, *_ in found] == [0, 2, 3]
    _, key, value, headers = found[1]
    assert (key, value) == (None, bomb)
    (name, told), *others = headers
    assert (name, others) == (BATCH_HEADER, [])
    assert told is not None
    assert f"2 records, compressed with {CODEC_NAMES[compression]}" in told.decode()


@pytest.mark.parametrize("compression", range(1, 5), ids=CODEC_NAMES[1:])
def test_a_damaged_batch_becomes_one_record(compression: int) -> None:
    data = bytearray(batch(0, GOOD, GOOD, compression=compression))
    data[61:80] = b"\xff" * 19
    each = bounded(bytes(data)).next_batch()
    assert each is not None
    (found,) = each
    assert (found.offset, found.value) == (1, bytes(data))


def test_a_response_is_left_after_a_bound_and_the_rest_fetched_again() -> None:
    batches = [batch(number, GOOD, value=bytes(300_000), compression=4) for number in range(5)]
    records = bounded(b"".join(batches), max_unpacked_bytes=500_000)
    found = []
    while records.has_next():
        found += [record.offset for record in records.next_batch() or ()]
    assert found == [0, 1]


def test_all_consumers_of_the_process_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    read_any_batch(2**20)
    read_any_batch(2**20)
    assert read(fetcher.MemoryRecords(batch(0, BAD, compression=4)))
