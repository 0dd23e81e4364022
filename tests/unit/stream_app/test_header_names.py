"""A header name that is not UTF-8 costs nobody anything."""

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record import default_records
from aiokafka.record.memory_records import MemoryRecords

from stream_app.header_names import LenientRecords, read_any_header_name
from tests.unencodable import RawName

Headers = list[tuple[str, bytes | None]]
NO_HEADERS: Headers = []
GOOD: Headers = [("ce_id", b"e-1"), ("é", None), ("trace", b"\xff\xfe")]
BAD: Headers = [("first", b"1"), (RawName(b"\xff\xfe"), b"2"), (RawName(b"na\xc3"), None), ("last", b"")]


def batch(base_offset: int, *records: Headers, compression: int = 0) -> bytes:
    builder = default_records._DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 1 << 20)
    for number, headers in enumerate(records):
        assert builder.append(number, 7, b"\xff\xfekey", b"\xff\xfevalue", headers)
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


@pytest.mark.parametrize("compression", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_record_with_such_a_name_and_those_around_it_are_read(compression: int) -> None:
    data = batch(0, GOOD) + batch(1, GOOD, BAD, NO_HEADERS, compression=compression) + batch(4, GOOD)
    with pytest.raises(UnicodeDecodeError):
        read(MemoryRecords(data))
    found = read(LenientRecords(data))
    assert [offset for offset, *_ in found] == [0, 1, 2, 3, 4]
    assert {(key, value) for _, key, value, _ in found} == {(b"\xff\xfekey", b"\xff\xfevalue")}
    mended = [("first", b"1"), ("\ufffd\ufffd", b"2"), ("na\ufffd", None), ("last", b"")]
    assert [headers for *_, headers in found] == [GOOD, GOOD, mended, [], GOOD]


def test_other_batches_are_read_as_before() -> None:
    data = batch(0, GOOD, NO_HEADERS) + batch(2, NO_HEADERS)
    assert read(LenientRecords(data)) == read(MemoryRecords(data))
    assert read(LenientRecords(data + batch(3, GOOD)[:40])) == read(MemoryRecords(data))
    each = LenientRecords(data).next_batch()
    assert each is not None
    assert (each.base_offset, each.next_offset, each.is_control_batch) == (0, 2, False)
    assert LenientRecords(data).size_in_bytes() == len(data)


def test_all_consumers_of_the_process_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    read_any_header_name()
    read_any_header_name()
    assert fetcher.MemoryRecords is LenientRecords
