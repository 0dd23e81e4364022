"""Records as the consumer hands them over, for tests without a broker."""

from collections.abc import Sequence
from dataclasses import dataclass

from stream_app.acknowledgement import TopicPartition
from stream_app.batching import Fetched


@dataclass(frozen=True)
class PlainRecord:
    topic: str = "product-listed"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_764_057_600_000
    key: bytes | None = b"1"
    value: bytes | None = b"{}"
    headers: Sequence[tuple[str, bytes | None]] = ()


def fetched(
    first: int, num_records: int, *, partition: int = 0, generation: int = 1, num_bytes: int = 2
) -> Fetched:
    records = tuple(
        PlainRecord(partition=partition, offset=first + position, value=b"x" * num_bytes, key=None)
        for position in range(num_records)
    )
    return Fetched(TopicPartition("product-listed", partition), generation, records)
