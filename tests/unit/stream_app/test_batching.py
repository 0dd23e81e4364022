"""Batches are full, due or split as the settings say, and never reorder a partition."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.acknowledgement import TopicPartition
from stream_app.batching import BatchFormer, BatchSettings, Fetched
from tests.unit.stream_app.records import PlainRecord, fetched


def former(**settings: float) -> BatchFormer:
    return BatchFormer(BatchSettings.model_validate(settings))


def test_nothing_is_due_while_nothing_waits() -> None:
    assert former().seconds_until_due(0.0) is None
    with pytest.raises(LookupError):
        former().take()


def test_a_batch_is_due_its_delay_after_its_first_record() -> None:
    batches = former(max_delay_ms=20)
    batches.add(fetched(0, 1), now=5.0)
    batches.add(fetched(1, 1), now=5.015)
    assert batches.seconds_until_due(5.015) == pytest.approx(0.005)
    assert batches.seconds_until_due(6.0) == 0.0


def test_a_full_batch_goes_at_once() -> None:
    batches = former(max_batch=3)
    batches.add(fetched(0, 3), now=0.0)
    assert batches.seconds_until_due(0.0) == 0.0


def test_a_batch_full_of_bytes_goes_at_once() -> None:
    batches = former(max_batch_bytes=100)
    batches.add(fetched(0, 2, num_bytes=60), now=0.0)
    assert batches.seconds_until_due(0.0) == 0.0
    assert len(batches.take().records) == 1


def test_small_fetches_of_several_partitions_are_merged() -> None:
    batches = former(max_batch=10)
    batches.add(fetched(0, 2, partition=0), now=0.0)
    batches.add(fetched(7, 3, partition=1), now=0.0)
    batch = batches.take()
    assert [(span.partition.partition, span.first, span.next) for span in batch.spans] == [
        (0, 0, 2),
        (1, 7, 10),
    ]
    assert batches.num_records == batches.num_bytes == 0


def test_a_large_fetch_is_split() -> None:
    batches = former(max_batch=4)
    batches.add(fetched(0, 10), now=0.0)
    assert [len(batches.take().records) for _ in range(3)] == [4, 4, 2]


def test_a_record_larger_than_the_byte_bound_goes_alone() -> None:
    batches = former(max_batch_bytes=10)
    batches.add(fetched(0, 1, num_bytes=5), now=0.0)
    batches.add(fetched(1, 1, num_bytes=50), now=0.0)
    batches.add(fetched(2, 1, num_bytes=5), now=0.0)
    assert [len(batches.take().records) for _ in range(3)] == [1, 1, 1]


def test_there_is_no_room_above_the_byte_bound_and_room_again_below() -> None:
    batches = former(max_buffered_bytes=100, max_batch=1)
    batches.add(fetched(0, 2, num_bytes=60), now=0.0)
    assert not batches.has_room
    batches.take()
    assert batches.has_room


def test_clearing_drops_everything() -> None:
    batches = former()
    batches.add(fetched(0, 5), now=0.0)
    batches.clear()
    assert batches.seconds_until_due(9.0) is None
    assert batches.num_records == batches.num_bytes == 0


@given(
    fetches=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 30)), max_size=30),
    max_batch=st.integers(1, 50),
    max_batch_bytes=st.integers(1, 400),
)
def test_every_record_leaves_once_in_order_and_within_bounds(
    fetches: list[tuple[int, int, int]], max_batch: int, max_batch_bytes: int
) -> None:
    batches = former(max_batch=max_batch, max_batch_bytes=max_batch_bytes)
    following: dict[int, int] = defaultdict(int)
    for partition, num_records, num_bytes in fetches:
        batches.add(
            fetched(following[partition], num_records, partition=partition, num_bytes=num_bytes), now=0.0
        )
        following[partition] += num_records
    seen: dict[int, int] = defaultdict(int)
    while batches.seconds_until_due(1.0) is not None:
        batch = batches.take()
        assert 1 <= len(batch.records) <= max_batch
        assert len(batch.records) == 1 or batch.num_bytes <= max_batch_bytes
        assert sum(span.next - span.first for span in batch.spans) == len(batch.records)
        for record in batch.records:
            assert record.offset == seen[record.partition]
            seen[record.partition] += 1
    assert seen == following
    assert batches.num_records == batches.num_bytes == 0


def test_headers_count_so_that_small_values_cannot_fill_the_memory() -> None:
    batches = former(max_batch_bytes=1_000, max_buffered_bytes=2_500)
    heavy = [PlainRecord(offset=offset, headers=(("h", b"x" * 899), ("n", None))) for offset in range(3)]
    batches.add(Fetched(TopicPartition("product-listed", 0), 1, heavy), now=0.0)
    assert batches.num_bytes == 3 * (899 + 2 + len(b"1") + len(b"{}"))
    assert not batches.has_room
    assert len(batches.take().records) == 1
