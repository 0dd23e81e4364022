"""What a replay sends back, refuses and remembers."""

import pytest

from schemas.dead_letters import (
    Failure,
    Reason,
    Stage,
    build_dead_letter,
    dead_letter_headers,
    replay_headers,
)
from schemas.errors import MalformedError
from stream_app.dead_letters import FAILURES, UNEXPECTED, dead_letter, failure_of
from stream_app.preparing import decode_records
from stream_app.replaying import MAX_METADATA_BYTES, Memory, Refusal, Selection, refusal
from stream_app.stages import Rejected, origin
from tests.unit.stream_app.records import PlainRecord

TOPICS = {"product-listed"}


def letter(source: str = "product-listed-2-9", attempts: int = 1) -> PlainRecord:
    failure = Failure(Stage.DECODE, Reason.TOO_LARGE, "large", source, attempts)
    return PlainRecord(topic="dead", offset=4, headers=dead_letter_headers(failure))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (letter(), None),
        (letter(attempts=2), None),
        (letter(attempts=3), Refusal.TOO_MANY_ATTEMPTS),
        (letter(source="dead-0-1"), Refusal.UNKNOWN_SOURCE),
        (letter(source="nonsense"), Refusal.UNKNOWN_SOURCE),
        (PlainRecord(topic="dead"), Refusal.FOREIGN),
    ],
)
def test_a_letter_is_sent_back_or_refused_with_a_reason(
    record: PlainRecord, expected: Refusal | None
) -> None:
    refused = refusal(record, topics=TOPICS, max_attempts=3)
    assert (refused and refused[0]) == expected


def test_a_letter_whose_value_was_cut_is_refused_with_its_true_size() -> None:
    failure = Failure(Stage.DECODE, Reason.MALFORMED, "", "product-listed-0-1")
    cut = build_dead_letter(b"k", b"x" * 9_000, (), failure, max_bytes=5_000)
    record = PlainRecord(topic="dead", value=cut.value, headers=cut.headers)
    refused = refusal(record, topics=TOPICS, max_attempts=3)
    assert refused is not None
    assert refused[0] is Refusal.CUT
    assert "9000 bytes" in refused[1]


def test_a_replayed_record_keeps_its_first_id_and_counts_on() -> None:
    first = PlainRecord(
        partition=2, offset=9, value=b"x", headers=[("a", b"1"), ("shelver.listing", b"l-0-1")]
    )
    rejected = Rejected(first, MalformedError("bad"), Stage.DECODE)
    once = dead_letter(rejected, failure_of(rejected), topic="dead")
    back = PlainRecord(partition=2, offset=50, value=b"x", headers=replay_headers(once.headers))
    assert origin(back) == "product-listed-2-9"
    again = Rejected(back, MalformedError("bad"), Stage.DECODE)
    failure = failure_of(again)
    assert (failure.source, failure.attempts) == ("product-listed-2-9", 2)
    twice = dead_letter(again, failure, topic="dead")
    assert [name for name, _ in twice.headers].count("shelver.attempts") == 1
    assert list(twice.headers[:2]) == list(first.headers)


def test_an_event_without_id_is_named_after_its_first_place() -> None:
    headers = replay_headers(letter().headers)
    value = b'{"product_id":"1","title":"x"}'
    record = PlainRecord(partition=0, offset=50, value=value, headers=headers)
    decoded = decode_records([record], max_bytes=100)
    assert [each.product.event_id for each in decoded.listings] == ["product-listed-2-9"]


@pytest.mark.parametrize("told", [b"other-0-1", b"product-listed-x-1", b"\xff", b"", None])
def test_a_source_that_cannot_be_true_is_ignored(told: bytes | None) -> None:
    record = PlainRecord(offset=7, headers=[("shelver.source", told)])
    assert origin(record) == "product-listed-0-7"


def test_memory_keeps_holes_and_closes_them() -> None:
    memory = Memory(10)
    for offset in (12, 13, 15):
        memory.add(offset)
    assert (memory.offset, memory.metadata) == (10, "12-13,15")
    memory = Memory.read(10, memory.metadata)
    assert [offset for offset in range(9, 17) if memory.has(offset)] == [9, 12, 13, 15]
    for offset in (10, 14, 11):
        memory.add(offset)
    assert (memory.offset, memory.metadata) == (16, "")
    assert Memory.read(3, "damaged") == Memory(3)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (5, Memory(10, [(12, 13), (20, 30)])),
        (13, Memory(14, [(20, 30)])),
        (16, Memory(16, [(20, 30)])),
        (25, Memory(31)),
        (40, Memory(40)),
    ],
)
def test_memory_outlives_letters_that_kafka_has_deleted(start: int, expected: Memory) -> None:
    memory = Memory.read(10, "12-13,20-30")
    memory.skip_to(start)
    assert memory == expected


def test_memory_is_full_before_a_commit_would_be_refused() -> None:
    memory = Memory()
    offset = 1
    while not memory.is_full:
        memory.add(offset := offset + 2)
    memory.add(offset + 2)
    assert len(memory.metadata) <= MAX_METADATA_BYTES


def test_filters_leave_foreign_records_out() -> None:
    assert Selection().has(None)
    assert not Selection(reasons=[Reason.INVALID]).has(None)
    failure = Failure(Stage.DECODE, Reason.MALFORMED, "", "product-listed-0-1")
    assert Selection(topic="product-listed", stages=[Stage.DECODE]).has(failure)
    assert not Selection(reasons=[Reason.INVALID]).has(failure)


def test_every_reason_and_stage_comes_from_the_tables() -> None:
    produced = {*FAILURES.values(), *UNEXPECTED.items()}
    assert {reason for _, reason in produced} == set(Reason)
    assert {stage for stage, _ in produced} == set(Stage)
