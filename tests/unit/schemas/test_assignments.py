import json
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.assignments import (
    AssignedCategory,
    CategoryAssigned,
    ImageUse,
    Modalities,
    ModelReference,
    SourceReference,
    TextUse,
    assignment_id,
)
from schemas.codec import decode, encode
from tests.strategies import identifiers


def refuse_constant(name: str) -> float:
    raise AssertionError(f"{name} in JSON")


def assigned(**fields: Any) -> CategoryAssigned:
    values: dict[str, Any] = {
        "assignment_id": assignment_id("e-1", "fusion", "7"),
        "event_id": "e-1",
        "product_id": "3804725264",
        "category": AssignedCategory(code=2583, label="Piscine et accessoires", probability=0.97),
        "alternatives": (AssignedCategory(code="A-1", label="Été", probability=0.02),),
        "modalities": Modalities(text=TextUse.USED, image=ImageUse.UNAVAILABLE),
        "image_reason": "timeout",
        "model": ModelReference(name="fusion", version="7"),
        "source": SourceReference(topic="product-listed", partition=3, offset=42),
        "assigned_at": datetime(2026, 11, 25, 8, tzinfo=UTC),
    }
    return CategoryAssigned(**{**values, **fields})


def test_an_assignment_is_written_as_the_contract_says() -> None:
    assert json.loads(encode(assigned())) == {
        "assignment_id": assignment_id("e-1", "fusion", "7"),
        "event_id": "e-1",
        "product_id": "3804725264",
        "category": {"code": 2583, "label": "Piscine et accessoires", "probability": 0.97},
        "alternatives": [{"code": "A-1", "label": "Été", "probability": 0.02}],
        "modalities": {"text": "used", "image": "unavailable"},
        "image_reason": "timeout",
        "model": {"name": "fusion", "version": "7"},
        "source": {"topic": "product-listed", "partition": 3, "offset": 42},
        "assigned_at": "2026-11-25T08:00:00Z",
    }


def test_what_is_not_known_is_written_as_null() -> None:
    written = json.loads(encode(assigned(image_reason=None, source=None)))
    assert (written["image_reason"], written["source"]) == (None, None)


def test_an_assignment_survives_encoding_and_decoding() -> None:
    assert decode(CategoryAssigned, encode(assigned()), default_event_id="unused") == assigned()


def test_a_reason_may_be_an_enum_of_strings() -> None:
    class Reason(StrEnum):
        TOO_LARGE = "too_large"

    assert json.loads(encode(assigned(image_reason=Reason.TOO_LARGE)))["image_reason"] == "too_large"


@given(st.floats())
def test_a_probability_is_refused_or_written_as_the_number_it_is(probability: float) -> None:
    try:
        category = AssignedCategory(code=1, label="x", probability=probability)
    except ValidationError:
        assert not 0 <= probability <= 1
        return
    assert 0 <= probability <= 1
    written = json.loads(encode(assigned(category=category)), parse_constant=refuse_constant)
    assert written["category"]["probability"] == probability


@pytest.mark.parametrize("code", [True, None, 2583.0, float("nan"), [1]])
def test_a_code_is_an_integer_or_a_string_and_stays_one(code: Any) -> None:
    assert AssignedCategory(code=2583, label="x", probability=0).code == 2583
    assert AssignedCategory(code="2583", label="x", probability=0).code == "2583"
    with pytest.raises(ValidationError, match="should be an integer or a string"):
        AssignedCategory(code=code, label="x", probability=0)


@given(identifiers(), st.text(max_size=20), st.text(max_size=5))
def test_an_assignment_id_is_the_uuid5_of_its_parts(event_id: str, name: str, version: str) -> None:
    namespace = uuid.UUID("0a7ff5ad-6f0f-53a9-9c5b-2a3c6a1d5e8f")
    assert assignment_id(event_id, name, version) == str(
        uuid.uuid5(namespace, f"{event_id}\n{name}\n{version}")
    )


def test_an_assignment_id_never_changes() -> None:
    assert assignment_id("a", "b", "c") == "0f4fab12-f49d-52a0-aa47-bb803396dd49"


@given(st.lists(st.tuples(identifiers(), identifiers(), identifiers()), unique=True, min_size=2, max_size=8))
def test_other_events_and_versions_have_other_ids(parts: list[tuple[str, str, str]]) -> None:
    assert len({assignment_id(*each) for each in parts}) == len(parts)
