import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.codec import decode, encode
from schemas.errors import InvalidMessageError
from schemas.products import ImageReference, ProductListed


def listing(**fields: Any) -> ProductListed:
    return decode(ProductListed, json.dumps(fields).encode(), default_event_id="t-0-1")


def test_a_listing_as_the_contract_writes_it_is_read() -> None:
    body = {
        "event_id": "e-1",
        "product_id": "3804725264",
        "title": "Robot",
        "description": "<p>x</p>",
        "image": {"url": "https://shop.example/a.jpg"},
        "listed_at": "2026-11-25T08:00:00Z",
        "explain": True,
    }
    read = listing(**body)
    assert read == ProductListed(
        event_id="e-1",
        product_id="3804725264",
        title="Robot",
        description="<p>x</p>",
        image=ImageReference(url="https://shop.example/a.jpg"),
        listed_at=datetime(2026, 11, 25, 8, tzinfo=UTC),
        explain=True,
    )
    assert json.loads(encode(read)) == body


def test_the_names_of_the_challenge_are_accepted() -> None:
    body = {"designation": "Robot", "productid": 3804725264, "imageid": 1263597046, "description": "<p>x</p>"}
    assert listing(**body) == listing(product_id="3804725264", title="Robot", description="<p>x</p>")


@pytest.mark.parametrize(
    ("body", "product_id", "title"),
    [
        ({"product_id": "a", "productid": "b", "imageid": "c", "title": "t", "designation": "d"}, "a", "t"),
        ({"product_id": None, "productid": "b", "title": None, "designation": "d"}, "b", "d"),
        ({"imageid": 7, "designation": None}, "7", ""),
    ],
)
def test_of_several_names_the_first_with_a_value_counts(
    body: dict[str, Any], product_id: str, title: str
) -> None:
    read = listing(**body)
    assert (read.product_id, read.title) == (product_id, title)


def test_unknown_fields_are_ignored() -> None:
    assert listing(product_id=1, price={"value": 3}, Title="no") == listing(product_id=1)


def test_null_is_the_same_as_absent() -> None:
    absent = listing(product_id=1)
    nulls = listing(product_id=1, title=None, description=None, image=None, listed_at=None, explain=None)
    assert nulls == absent
    assert (absent.title, absent.description, absent.image, absent.explain) == ("", None, None, False)


def test_a_product_without_text_and_picture_is_a_valid_message() -> None:
    assert listing(product_id=1, title="", description="").title == ""


def test_text_is_kept_as_received() -> None:
    odd = "a\0b \u202e é\u0301 <b>&amp;eacute;</b>\t\r\n😀"
    read = listing(product_id=1, title=odd, description=odd)
    assert (read.title, read.description) == (odd, odd)


@pytest.mark.parametrize("image", [{"url": "https://shop.example/a.jpg"}, {"data": "AAAA"}, {"data": ""}])
def test_a_picture_is_an_address_or_data(image: dict[str, str]) -> None:
    read = listing(product_id=1, image={**image, "alt": "ignored"}).image
    assert read is not None
    assert read.model_dump(exclude_none=True) == image


def test_a_picture_that_cannot_be_decoded_costs_the_event_nothing_here() -> None:
    read = listing(product_id=1, image={"data": "not base64!"}).image
    assert read == ImageReference(data="not base64!")


@pytest.mark.parametrize("image", [{"url": None}, {"data": None}, {"url": None, "data": None, "alt": "x"}])
def test_a_picture_with_nothing_in_its_fields_is_none(image: dict[str, Any]) -> None:
    assert listing(product_id=1, image=image).image is None


@pytest.mark.parametrize(
    "image", [{}, {"src": "a"}, {"url": "a", "data": "b"}, "a.jpg", ["a"], 7, {"url": 7}]
)
def test_any_other_picture_is_invalid(image: object) -> None:
    with pytest.raises(InvalidMessageError, match="image"):
        listing(product_id=1, image=image)


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026-11-25T08:00:00Z", datetime(2026, 11, 25, 8, tzinfo=UTC)),
        ("2026-11-25T08:00:00+01:00", datetime(2026, 11, 25, 8, tzinfo=timezone(timedelta(hours=1)))),
        ("2026-11-25T08:00:00", datetime(2026, 11, 25, 8, tzinfo=UTC)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        (1764057600, datetime(2025, 11, 25, 8, tzinfo=UTC)),
        (1764057600.0, datetime(2025, 11, 25, 8, tzinfo=UTC)),
        (1764057600000, datetime(2025, 11, 25, 8, tzinfo=UTC)),
        ("1764057600000", datetime(2025, 11, 25, 8, tzinfo=UTC)),
    ],
)
def test_times_are_read_with_their_offset_and_milliseconds_are_not_taken_for_seconds(
    written: object, instant: datetime
) -> None:
    read = listing(product_id=1, listed_at=written).listed_at
    assert read == instant
    assert read.tzinfo is not None


@pytest.mark.parametrize("written", ["yesterday", "", True, [], 1e300, "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_invalid(written: object) -> None:
    with pytest.raises(InvalidMessageError, match="listed_at should be a time"):
        listing(product_id=1, listed_at=written)


def test_a_listing_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        listing(product_id=1).title = "other"  # type: ignore[misc]  # what the test is about


def test_validation_leaves_its_input_alone() -> None:
    fields = {"event_id": "e", "productid": 1, "image": {"url": None}}
    ProductListed.model_validate(fields)
    assert fields == {"event_id": "e", "productid": 1, "image": {"url": None}}


def test_absent_fields_are_left_out_when_written() -> None:
    assert json.loads(encode(listing(product_id=1, image={"data": "AA=="}))) == {
        "event_id": "t-0-1",
        "product_id": "1",
        "title": "",
        "image": {"data": "AA=="},
        "explain": False,
    }
