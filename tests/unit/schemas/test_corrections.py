import json
from datetime import UTC, datetime

import pytest

from schemas.codec import decode, encode
from schemas.corrections import CategoryCorrected
from schemas.errors import InvalidMessageError

BODY = {
    "correction_id": "c-1",
    "product_id": 3804725264,
    "category": {"code": 2583, "label": "Piscine et accessoires"},
    "event_id": "e-1",
    "assignment_id": "a-1",
    "corrected_by": "anne",
    "comment": "a pump",
    "corrected_at": "2026-11-25T08:00:00Z",
}


def test_a_correction_survives_decoding_and_encoding() -> None:
    correction = decode(CategoryCorrected, json.dumps(BODY).encode(), default_event_id="unused")
    assert json.loads(encode(correction)) == {**BODY, "product_id": "3804725264"}


def test_a_correction_needs_a_product_and_a_category_only() -> None:
    body = {"product_id": "p", "category": {"code": "A"}}
    headers = [("ce_id", b"c-9"), ("ce_time", b"2026-11-25T08:00:00Z")]
    correction = decode(CategoryCorrected, json.dumps(body).encode(), headers, default_event_id="unused")
    assert correction.correction_id == "c-9"
    assert correction.corrected_at == datetime(2026, 11, 25, 8, tzinfo=UTC)


@pytest.mark.parametrize("missing", ["product_id", "category"])
def test_a_correction_without_them_is_invalid(missing: str) -> None:
    body = {name: value for name, value in BODY.items() if name != missing}
    with pytest.raises(InvalidMessageError, match=f"{missing} is missing"):
        decode(CategoryCorrected, json.dumps(body).encode(), default_event_id="unused")
