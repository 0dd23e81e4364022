import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.base import Message
from schemas.codec import Headers, decode, encode, validate
from schemas.corrections import CategoryCorrected
from schemas.errors import (
    FramingError,
    InvalidMessageError,
    MalformedError,
    MessageError,
    MessageTooLargeError,
)
from schemas.explanations import ExplanationRequested
from schemas.products import ProductListed
from tests.strategies import hostile_bytes, listing_bodies, products, record_headers

INPUTS = (ProductListed, ExplanationRequested, CategoryCorrected)
GOOD = b'{"product_id": "p-1", "title": "Robot"}'


def decode_listing(value: bytes, headers: Headers = (), **options: Any) -> ProductListed:
    return decode(ProductListed, value, headers, default_event_id="product-listed-0-7", **options)


@given(products())
def test_a_listing_survives_encoding_and_decoding(product: ProductListed) -> None:
    assert decode_listing(encode(product)) == product


@given(products())
def test_an_encoded_message_is_strict_json_without_absent_fields(product: ProductListed) -> None:
    written = json.loads(encode(product))
    assert written["event_id"] == product.event_id
    assert None not in written.values()
    assert ("image" in written) == (product.image is not None)


@given(hostile_bytes(), record_headers(), st.sampled_from(INPUTS))
def test_whatever_the_bytes_and_headers_only_message_errors_come_out(
    value: bytes, headers: Headers, message_type: type[Message]
) -> None:
    try:
        message = decode(message_type, value, headers, default_event_id="t-0-1")
    except MessageError as error:
        fault = error
    else:
        assert decode(message_type, encode(message), default_event_id="other") == message
        return
    assert str(fault).isprintable()
    assert len(str(fault)) < 1500


@given(listing_bodies())
def test_a_body_is_accepted_or_the_fields_that_are_wrong_are_named(body: dict[str, Any]) -> None:
    try:
        product = decode_listing(json.dumps(body).encode())
    except InvalidMessageError as error:
        fault = error
    else:
        assert product.product_id
        return
    assert fault.fields
    assert all(name in str(fault) for name in fault.fields[:5])


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_a_number_for_an_id_is_kept_digit_for_digit(number: str) -> None:
    assume(number != "-0")
    listing = decode_listing(f'{{"productid": {number}, "event_id": {number}}}'.encode())
    assert (listing.product_id, listing.event_id) == (number, number)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("3804725264", "3804725264"),
        ('"3804725264"', "3804725264"),
        ("3804725264.0", "3804725264.0"),
        ("1524831183200260097", "1524831183200260097"),
        ("12345678901234567890123", "12345678901234567890123"),
        ('"003"', "003"),
        ('" a "', " a "),
    ],
)
def test_ids_round_trip_as_the_exact_text_received(written: str, read: str) -> None:
    listing = decode_listing(f'{{"product_id": {written}, "event_id": "e"}}'.encode())
    assert listing.product_id == read
    assert json.loads(encode(listing))["product_id"] == read


@pytest.mark.parametrize(
    "written",
    [
        *("true", "null", "[]", "{}", '""', '" "', '"a\\u0000b"', '"a\\nb"', '"\\ud83d"', '"a\ufffd"'),
        *("9" * 513, '"' + "x" * 513 + '"', "1" + "0" * 600 + ".5"),
    ],
)
def test_an_id_that_cannot_be_kept_exactly_is_refused(written: str) -> None:
    with pytest.raises(InvalidMessageError, match="product_id should be a string or a number") as caught:
        decode_listing(f'{{"product_id": {written}}}'.encode())
    assert caught.value.fields == ("product_id",)


def test_the_records_that_ended_an_agent_are_told_apart() -> None:
    odd: list[tuple[bytes, Headers]] = [
        (GOOD, ()),
        (GOOD, [("ce_id", None), ("b", b"\xff")]),
        (b"", ()),
        (b"null", ()),
        (b"\0\0\0\0\7a", ()),
        (GOOD, [("ce_id", b"e-1"), ("ce_id", b"e-2")]),
    ]
    outcomes = []
    for value, headers in odd:
        try:
            outcomes.append(decode_listing(value, headers).event_id)
        except MessageError as error:
            outcomes.append(type(error).__name__)
    assert outcomes == [
        "product-listed-0-7",
        "product-listed-0-7",
        "MalformedError",
        "MalformedError",
        "FramingError",
        "e-2",
    ]


def test_framed_json_is_read_and_framed_avro_names_its_schema() -> None:
    assert decode_listing(b"\0\0\0\0\7" + GOOD).product_id == "p-1"
    with pytest.raises(FramingError, match="schema id 7"):
        decode_listing(b"\0\0\0\0\7\x06abc\x00")


def test_the_header_variant_of_a_schema_id_is_accepted() -> None:
    headers = [("__value_schema_id", b"\1" + bytes(16)), ("__key_schema_id", None)]
    assert decode_listing(GOOD, headers) == decode_listing(GOOD)


def test_a_value_above_the_limit_is_refused_before_it_is_parsed() -> None:
    assert decode_listing(GOOD, max_bytes=len(GOOD)).title == "Robot"
    with pytest.raises(MessageTooLargeError, match="39 bytes; at most 38") as caught:
        decode_listing(GOOD, max_bytes=len(GOOD) - 1)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (39, 38)


@pytest.mark.parametrize("event_id", ['"event_id": null,', '"event_id": "",', ""])
def test_an_event_without_an_id_gets_the_default(event_id: str) -> None:
    assert decode_listing(f'{{{event_id} "product_id": 1}}'.encode()).event_id == "product-listed-0-7"


def test_an_event_keeps_its_own_id_and_time_whatever_the_headers_say() -> None:
    value = b'{"event_id": "mine", "product_id": 1, "listed_at": "2026-01-01T00:00:00Z"}'
    listing = decode_listing(value, [("ce_id", b"other"), ("ce_time", b"2020-01-01T00:00:00Z")])
    assert listing.event_id == "mine"
    assert listing.listed_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_error_names_every_wrong_field_what_it_should_be_and_what_it_was() -> None:
    body = {"title": 5, "image": {"url": 7}, "explain": "maybe", "listed_at": "x" * 99, "product_id": True}
    with pytest.raises(InvalidMessageError) as caught:
        decode_listing(json.dumps(body).encode())
    message = str(caught.value)
    assert message.startswith("not a valid ProductListed: ")
    assert "title should be a string or null, got 5" in message
    assert 'explain should be true, false or null, got "maybe"' in message
    assert "listed_at should be a time such as 2026-11-25T08:00:00Z" in message
    assert "x" * 50 not in message
    assert set(caught.value.fields) == {"title", "image.url", "explain", "listed_at", "product_id"}


def test_the_error_of_a_missing_field_says_so() -> None:
    with pytest.raises(InvalidMessageError, match="product_id is missing"):
        decode_listing(b"{}")


def test_errors_do_not_repeat_where_pictures_are() -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_listing(b'{"product_id": 1, "image": "https://user:secret@shop.example/a.jpg"}')
    assert "secret" not in str(caught.value)


def test_only_the_first_few_of_many_faults_are_told() -> None:
    with pytest.raises(InvalidMessageError, match="and 45 more") as caught:
        decode(
            ExplanationRequested,
            json.dumps({"event_id": "e", "categories": [True] * 50}).encode(),
            default_event_id="r",
        )
    assert len(caught.value.fields) == 50


def test_a_malformed_value_is_told_from_an_invalid_one() -> None:
    with pytest.raises(MalformedError):
        decode_listing(b"[]")
    with pytest.raises(InvalidMessageError):
        decode_listing(b"{}")


def test_fields_can_be_validated_without_bytes() -> None:
    assert validate(ProductListed, {"event_id": "e", "product_id": 7}).product_id == "7"
    with pytest.raises(InvalidMessageError):
        validate(ProductListed, {"event_id": "e"})
