import json
import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jiter import LosslessFloat

from schemas.errors import FramingError, MalformedError, MessageError
from schemas.json_objects import parse_object
from tests.strategies import SURROGATES, hostile_bytes, json_values

LISTING = '{"product_id": "é1", "title": "été"}'


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"null",
        b"true",
        b"7",
        b"{",
        b'{"title": "cut',
        LISTING.encode("latin-1"),
        LISTING.encode("utf-16"),
        LISTING.encode("utf-16-le"),
        LISTING.encode("utf-16-be"),
        LISTING.encode("utf-32"),
        LISTING.encode("utf-32-be"),
        json.dumps(LISTING).encode(),
        f"[{LISTING}]".encode(),
        f"{LISTING}\n{LISTING}".encode(),
        f"{LISTING},".encode(),
        b"[" * 100_000,
        b'{"a": ' * 100_000,
        b'{"a": "\xed\xa0\xbd"}',
        b'{"a": "line\nend"}',
        b'{"a": 1' + b"0" * 5000 + b"}",
        b"\0",
        b"\0\0\0\0\7",
        b"\xef\xbb\xbf",
        b"\x1f\x8b\x08\0",
    ],
)
def test_bytes_that_are_not_one_object_in_utf8_are_malformed_in_one_line(value: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_object(value)
    message = str(caught.value)
    assert "JSON object" in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "nan", "-NaN"])
def test_numbers_json_does_not_have_are_malformed_even_where_nobody_reads_them(number: str) -> None:
    with pytest.raises(MalformedError):
        parse_object(f'{{"title": "x", "price": {number}}}'.encode())


def test_a_number_out_of_range_keeps_its_text() -> None:
    price = parse_object(b'{"price": 1e400}')["price"]
    assert isinstance(price, LosslessFloat)
    assert bytes(price) == b"1e400"


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse_object(LISTING.encode("utf-8-sig")) == json.loads(LISTING)


def test_of_a_name_given_twice_the_last_counts() -> None:
    assert parse_object(b'{"title": "a", "title": "b"}') == {"title": "b"}


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("schema_id", [0, 7, 0x7B00, 2**32 - 1])
def test_schema_registry_framing_before_json_is_skipped(schema_id: int, prefix: bytes) -> None:
    framed = b"\0" + schema_id.to_bytes(4, "big") + prefix + LISTING.encode()
    assert parse_object(framed) == json.loads(LISTING)


@pytest.mark.parametrize("payload", [b"a", b"\x06abc\x02\x80", b"[1]", b"\0\0\0\0\7{}", b"\x0a\x03foo"])
def test_schema_registry_framing_before_anything_else_names_the_schema(payload: bytes) -> None:
    with pytest.raises(FramingError, match="schema id 7 ") as caught:
        parse_object(b"\0\0\0\0\7" + payload)
    assert caught.value.schema_id == 7


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        (r"caf\ud83d", "caf\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\ud83d\ude00\ude00", "😀\ufffd"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\uD83Dx", "\ufffdx"),
        (r"\\ud83d", "\\ud83d"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\\ud83d\ude00", "\\ud83d\ufffd"),
        (r"\ud83d\\ude00", "\ufffd\\ude00"),
        (r"\ud83d\n\u00e9", "\ufffd\né"),
    ],
)
def test_half_a_surrogate_pair_becomes_one_replacement_character(escaped: str, expected: str) -> None:
    assert parse_object(f'{{"title": "{escaped}"}}'.encode()) == {"title": expected}


@given(st.lists(st.text(st.sampled_from(SURROGATES + '\\ud8"\n😀é'), max_size=12), max_size=3))
def test_lone_surrogates_are_replaced_one_for_one_and_nothing_else_is(texts: list[str]) -> None:
    document = json.dumps({"texts": texts, "".join(texts): 1})
    read = json.loads(document)
    expected = [re.sub("[\ud800-\udfff]", "\ufffd", text) for text in [*read["texts"], *read]]
    parsed = parse_object(document.encode())
    assert [*parsed["texts"], *parsed] == expected


def test_mending_a_large_value_takes_time_in_proportion_to_its_size() -> None:
    halves = parse_object(b'{"title": "' + rb"\ud83d\\" * 300_000 + b'"}')["title"]
    assert halves == "\ufffd\\" * 300_000


@given(st.dictionaries(st.text(max_size=6), json_values(), max_size=6), st.booleans())
def test_what_the_standard_library_writes_is_read_alike(document: dict[str, object], escaped: bool) -> None:
    parsed = parse_object(json.dumps(document, ensure_ascii=escaped).encode())
    assert json.loads(json.dumps(parsed, default=float)) == document


@given(hostile_bytes())
@example(b"\0\0\0\0\7a")
def test_any_bytes_give_an_object_or_a_message_error(value: bytes) -> None:
    with suppress(MessageError):
        assert type(parse_object(value)) is dict
