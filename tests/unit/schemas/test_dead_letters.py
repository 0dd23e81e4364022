import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letters import (
    DeadLetter,
    Failure,
    Headers,
    Reason,
    Stage,
    build_dead_letter,
    dead_letter_headers,
    original_headers,
    read_failure,
)
from tests.strategies import record_headers

FAILURE = Failure(Stage.DECODE, Reason.MALFORMED, "not JSON", "product-listed-3-42", attempts=2)
KEYS = st.none() | st.binary(max_size=20)


def size_bytes(letter: DeadLetter) -> int:
    """Size on the wire as Kafka counts it, without compression: an upper bound for each length."""
    headers = sum(len(name.encode()) + len(content or b"") + 10 for name, content in letter.headers)
    return 128 + len(letter.key or b"") + len(letter.value or b"") + headers


def test_the_headers_say_where_why_what_which_and_how_often() -> None:
    assert dead_letter_headers(FAILURE) == [
        ("shelver.stage", b"decode"),
        ("shelver.reason", b"malformed"),
        ("shelver.message", b"not JSON"),
        ("shelver.source", b"product-listed-3-42"),
        ("shelver.attempts", b"2"),
    ]


@given(KEYS, st.none() | st.binary(max_size=100), record_headers())
def test_key_value_and_headers_are_untouched_and_ours_come_after(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    letter = build_dead_letter(key, value, headers, FAILURE, max_bytes=1_000_000)
    assert (letter.key, letter.value) == (key, value)
    assert list(letter.headers) == [*headers, *dead_letter_headers(FAILURE)]
    assert read_failure(letter.headers) == FAILURE
    assert original_headers(letter.headers) == list(headers)


@given(
    st.builds(
        Failure,
        st.sampled_from(Stage),
        st.sampled_from(Reason),
        st.text(max_size=2000),
        st.text(max_size=30),
        st.integers(1, 10**6),
    )
)
def test_a_failure_is_read_back_with_its_message_on_one_short_line(failure: Failure) -> None:
    read = read_failure(dead_letter_headers(failure))
    assert read is not None
    assert (read.stage, read.reason, read.attempts) == (failure.stage, failure.reason, failure.attempts)
    assert read.source == failure.source
    assert len(read.message) <= 500
    assert read.message.isprintable()


def test_the_message_keeps_its_words() -> None:
    headers = dict(dead_letter_headers(Failure(Stage.VALIDATE, Reason.INVALID, " a\n\tb\0c ", "t-0-1")))
    assert headers["shelver.message"] == b"a b c"
    long = Failure(Stage.VALIDATE, Reason.INVALID, "word " * 200, "t-0-1")
    assert dict(dead_letter_headers(long))["shelver.message"].decode().endswith("…")


def test_a_value_too_large_to_copy_is_cut_and_its_size_and_digest_kept() -> None:
    value = bytes(range(256)) * 40
    letter = build_dead_letter(b"key", value, [("a", b"1")], FAILURE, max_bytes=5_000)
    headers = dict(letter.headers)
    assert letter.key == b"key"
    assert letter.value == value[:1024]
    assert letter.headers[0] == ("a", b"1")
    assert headers["shelver.original-size"] == b"10240"
    assert headers["shelver.original-sha256"] == hashlib.sha256(value).hexdigest().encode()


@pytest.mark.parametrize("size", range(4500, 4900, 7))
def test_a_value_is_cut_only_when_the_record_would_be_too_large(size: int) -> None:
    letter = build_dead_letter(None, bytes(size), [], FAILURE, max_bytes=5_000)
    cut = "shelver.original-size" in dict(letter.headers)
    assert len(letter.value or b"") == (1024 if cut else size)
    whole = DeadLetter(None, bytes(size), tuple(dead_letter_headers(FAILURE)))
    assert cut == (size_bytes(whole) > 5_000)


def test_headers_too_large_to_copy_are_left_out_and_counted() -> None:
    headers: Headers = [("a", b"x" * 4_000), ("b", b"y" * 4_000)]
    letter = build_dead_letter(b"key", b"value", headers, FAILURE, max_bytes=5_000)
    assert (letter.key, letter.value) == (b"key", b"value")
    assert dict(letter.headers)["shelver.original-headers"] == b"2"
    assert "shelver.original-size" not in dict(letter.headers)
    assert original_headers(letter.headers) == []


def test_a_key_too_large_to_copy_is_cut_and_its_size_kept() -> None:
    letter = build_dead_letter(b"k" * 9_000, b"value", [], FAILURE, max_bytes=5_000)
    assert letter.key == b"k" * 1024
    assert dict(letter.headers)["shelver.original-key-size"] == b"9000"


@given(
    st.none() | st.integers(0, 9_000).map(bytes),
    st.none() | st.integers(0, 9_000).map(bytes),
    st.lists(st.tuples(st.text(max_size=30), st.none() | st.integers(0, 4_000).map(bytes)), max_size=4),
    st.text(max_size=600),
)
def test_every_record_has_a_dead_letter_that_fits(
    key: bytes | None, value: bytes | None, headers: Headers, message: str
) -> None:
    failure = Failure(Stage.PUBLISH, Reason.OUTPUT_TOO_LARGE, message, "t-0-1")
    letter = build_dead_letter(key, value, headers, failure, max_bytes=5_000)
    assert size_bytes(letter) <= 5_000
    assert read_failure(letter.headers) is not None


def test_of_a_record_that_failed_twice_the_last_failure_counts() -> None:
    first = build_dead_letter(b"k", b"v", [("a", b"1")], FAILURE, max_bytes=1_000_000)
    second = Failure(Stage.INFERENCE, Reason.MODEL_ERROR, "again", "product-listed-0-1")
    letter = build_dead_letter(first.key, first.value, first.headers, second, max_bytes=1_000_000)
    assert read_failure(letter.headers) == second
    assert original_headers(letter.headers) == [("a", b"1")]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("shelver.stage", b"decode")],
        [("shelver.stage", b"decode"), ("shelver.reason", b"bad luck")],
        [("shelver.stage", None), ("shelver.reason", b"malformed")],
        [("shelver.stage", b"\xff"), ("shelver.reason", b"malformed")],
    ],
)
def test_headers_without_a_known_stage_and_reason_make_no_dead_letter(headers: Headers) -> None:
    assert read_failure(headers) is None


@pytest.mark.parametrize("attempts", [None, b"", b"many", b"-1", b"\xff", "²".encode(), b"9" * 5000])
def test_a_damaged_count_of_attempts_reads_as_one(attempts: bytes | None) -> None:
    headers = [*dead_letter_headers(FAILURE), ("shelver.attempts", attempts)]
    read = read_failure(headers)
    assert read is not None
    assert read.attempts == 1


@given(record_headers())
def test_any_headers_can_be_asked_for_a_failure(headers: Headers) -> None:
    assert read_failure(headers) is None
