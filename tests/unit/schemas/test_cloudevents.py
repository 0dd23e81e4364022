import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.cloudevents import output_headers
from schemas.codec import Headers, decode, encode
from schemas.corrections import CategoryCorrected
from schemas.errors import InvalidMessageError, MalformedError
from schemas.explanations import ExplanationRequested
from schemas.products import ProductListed

EIGHT = datetime(2026, 11, 25, 8, tzinfo=UTC)
PRODUCT = {"product_id": "p-1", "title": "Robot"}


def decode_listing(body: dict[str, Any], headers: Headers = ()) -> ProductListed:
    return decode(ProductListed, json.dumps(body).encode(), headers, default_event_id="t-0-1")


@pytest.mark.parametrize("names", [("ce_id", "ce_time"), ("ce-id", "ce-time"), ("Ce-Id", "CE_TIME")])
def test_binary_mode_gives_the_id_and_time_an_event_lacks(names: tuple[str, str]) -> None:
    listing = decode_listing(PRODUCT, [(names[0], b"e-1"), (names[1], b"2026-11-25T09:00:00+01:00")])
    assert (listing.event_id, listing.listed_at, listing.title) == ("e-1", EIGHT, "Robot")


@pytest.mark.parametrize("content", [None, b"", b" ", b"\xff", b"a\0b", b"x" * 513])
def test_an_id_that_cannot_be_used_counts_as_absent(content: bytes | None) -> None:
    assert decode_listing(PRODUCT, [("ce_id", content)]).event_id == "t-0-1"


@pytest.mark.parametrize("content", [None, b"", b"yesterday", b"\xff", b"99999999999999999999"])
def test_a_time_that_cannot_be_used_counts_as_absent(content: bytes | None) -> None:
    assert decode_listing(PRODUCT, [("ce_time", content)]).listed_at is None


def test_a_time_in_milliseconds_is_not_taken_for_seconds() -> None:
    listing = decode_listing(PRODUCT, [("ce_time", b"1764057600000")])
    assert listing.listed_at == datetime(2025, 11, 25, 8, tzinfo=UTC)


def test_of_a_header_given_twice_the_last_with_a_value_counts() -> None:
    headers = [("ce_id", b"e-1"), ("ce_id", b"e-2"), ("ce_id", None)]
    assert decode_listing(PRODUCT, headers).event_id == "e-2"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        [("content-type", b"application/cloudevents+json; charset=UTF-8")],
        [("Content-Type", b"text/plain")],
    ],
)
@pytest.mark.parametrize(
    "data", [{"data": PRODUCT}, {"data_base64": base64.b64encode(json.dumps(PRODUCT).encode()).decode()}]
)
def test_structured_mode_is_read_with_or_without_its_content_type(
    headers: Headers, data: dict[str, Any]
) -> None:
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "type": "x",
        "source": "/shop",
        "time": "2026-11-25T08:00:00Z",
    }
    listing = decode_listing({**event, **data}, headers)
    assert (listing.event_id, listing.listed_at, listing.title) == ("e-1", EIGHT, "Robot")


def test_the_message_in_a_structured_event_keeps_its_own_id() -> None:
    event = {"specversion": "1.0", "id": "outer", "data": {**PRODUCT, "event_id": "inner"}}
    assert decode_listing(event).event_id == "inner"


@pytest.mark.parametrize("data", ["{}", [PRODUCT], 7, True, json.dumps(PRODUCT)])
def test_data_that_is_not_an_object_is_malformed(data: object) -> None:
    with pytest.raises(MalformedError, match="data of a CloudEvent"):
        decode_listing({"specversion": "1.0", "id": "e-1", "data": data})


@pytest.mark.parametrize("encoded", ["e", "{}", 7, ["e30="], "W10="])
def test_data_in_base64_that_is_not_an_object_is_malformed(encoded: object) -> None:
    with pytest.raises(MalformedError):
        decode_listing({"specversion": "1.0", "id": "e-1", "data_base64": encoded})


@pytest.mark.parametrize("data", [{"data": None}, {"data_base64": None}, {}])
def test_an_event_without_data_is_invalid(data: dict[str, Any]) -> None:
    headers = [("content-type", b"application/cloudevents+json")]
    with pytest.raises(InvalidMessageError, match="without data"):
        decode_listing({"specversion": "1.0", "id": "e-1", **data}, headers)


def test_a_plain_message_with_a_field_called_data_is_no_event() -> None:
    assert decode_listing({**PRODUCT, "data": {"x": 1}, "id": "no"}).event_id == "t-0-1"


def test_outputs_are_events_in_binary_mode() -> None:
    listing = ProductListed(event_id="é-1", product_id="p", listed_at=EIGHT)
    assert output_headers(listing, source="/shelver") == [
        ("ce_specversion", b"1.0"),
        ("ce_id", "é-1".encode()),
        ("ce_type", b"shelver.product.listed"),
        ("ce_source", b"/shelver"),
        ("content-type", b"application/json"),
        ("ce_time", b"2026-11-25T08:00:00Z"),
    ]


def test_an_output_that_says_no_time_has_no_time_header() -> None:
    undated = ProductListed(event_id="e", product_id="p")
    untimed = ExplanationRequested(request_id="r", event_id="e")
    for message in (undated, untimed):
        assert "ce_time" not in dict(output_headers(message, source="/shelver"))


def test_what_is_written_is_read_back_with_the_same_id_and_time() -> None:
    body = json.dumps({"product_id": "p", "category": {"code": 1}}).encode()
    headers: Headers = [("ce_id", b"c-1"), ("ce_time", b"2026-11-25T08:00:00.123456Z")]
    correction = decode(CategoryCorrected, body, headers, default_event_id="unused")
    written = output_headers(correction, source="/shelver")
    assert decode(CategoryCorrected, body, written, default_event_id="unused") == correction
    assert decode(CategoryCorrected, encode(correction), default_event_id="unused") == correction
