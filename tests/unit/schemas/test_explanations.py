import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.assignments import ModelReference, assignment_id
from schemas.codec import decode, encode
from schemas.errors import InvalidMessageError
from schemas.explanations import (
    CategoryExplained,
    CategoryReference,
    Explanation,
    ExplanationMethod,
    ExplanationRequested,
    Frame,
    ImageAttribution,
    ModalityAttribution,
    TextAttribution,
    TextField,
    explanation_id,
)


def request(**fields: Any) -> ExplanationRequested:
    return decode(ExplanationRequested, json.dumps(fields).encode(), default_event_id="t-0-1")


def span(text: str, attribution: float, start: int = 0, **fields: Any) -> TextAttribution:
    end = fields.pop("end", start + len(text))
    return TextAttribution(
        field=TextField.TITLE, start=start, end=end, text=text, attribution=attribution, **fields
    )


def explanation(**fields: Any) -> Explanation:
    values: dict[str, Any] = {
        "category": CategoryReference(code=2583, label="Piscine"),
        "base_value": -0.5,
        "value": 2.0,
        "text": (span("Robot", 1.3), span("😀", 0.8, 6)),
        "image": ImageAttribution(
            grid=(1, 2),
            attributions=((0.1, 0.3),),
            width=500,
            height=400,
            frame=Frame(left=0, top=-50, width=500, height=500),
        ),
        "by_modality": ModalityAttribution(text=2.1, image=0.4),
    }
    return Explanation(**{**values, **fields})


def explained() -> CategoryExplained:
    return CategoryExplained(
        explanation_id=explanation_id("r-1", "fusion", "7"),
        request_id="r-1",
        event_id="e-1",
        product_id="p-1",
        model=ModelReference(name="fusion", version="7"),
        explanations=(explanation(), explanation(image=None, value=1.6)),
        method=ExplanationMethod(text="shapley", image=None, evaluations=1),
        additivity_error=1e-6,
        explained_at=datetime(2026, 11, 25, 8, tzinfo=UTC),
    )


def test_a_request_brings_its_product_or_names_an_event() -> None:
    with_product = request(request_id="r", product={"productid": 7, "designation": "Robot"})
    assert with_product.product is not None
    assert with_product.product.product_id == "7"
    assert request(request_id="r", event_id="e-1").event_id == "e-1"
    with pytest.raises(InvalidMessageError, match="should have a product or an event_id"):
        request(request_id="r")


@pytest.mark.parametrize(
    ("fields", "event_id"),
    [
        ({"request_id": "r", "product": {"event_id": "mine", "product_id": 1}}, "mine"),
        ({"request_id": "r", "event_id": "e", "product": {"product_id": 1}}, "e"),
        ({"request_id": "r", "product": {"product_id": 1, "event_id": ""}}, "r"),
        ({"product": {"product_id": 1}}, "t-0-1"),
    ],
)
def test_the_product_of_a_request_always_has_an_event_id(fields: dict[str, Any], event_id: str) -> None:
    product = request(**fields).product
    assert product is not None
    assert product.event_id == event_id


@pytest.mark.parametrize(
    "fields",
    [
        {"categories": [1.5]},
        {"categories": list(range(101))},
        {"max_evaluations": 0},
        {"max_evaluations": "many"},
        {"product": []},
        {"product": {"title": "x"}},
    ],
)
def test_a_wrong_request_is_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessageError, match=next(iter(fields))):
        request(event_id="e", **fields)


def test_a_request_survives_encoding_and_decoding() -> None:
    asked = request(product={"product_id": 1}, categories=[2583, "A"], max_evaluations=500)
    assert decode(ExplanationRequested, encode(asked), default_event_id="other") == asked


def test_an_explanation_is_written_as_the_contract_says() -> None:
    written = json.loads(encode(explained()))
    first = written.pop("explanations")[0]
    assert written == {
        "explanation_id": explanation_id("r-1", "fusion", "7"),
        "request_id": "r-1",
        "event_id": "e-1",
        "product_id": "p-1",
        "model": {"name": "fusion", "version": "7"},
        "method": {"text": "shapley", "image": None, "evaluations": 1},
        "additivity_error": 1e-6,
        "explained_at": "2026-11-25T08:00:00Z",
    }
    assert first == {
        "category": {"code": 2583, "label": "Piscine"},
        "base_value": -0.5,
        "value": 2.0,
        "text": [
            {"field": "title", "start": 0, "end": 5, "text": "Robot", "attribution": 1.3},
            {"field": "title", "start": 6, "end": 7, "text": "😀", "attribution": 0.8},
        ],
        "image": {
            "grid": [1, 2],
            "attributions": [[0.1, 0.3]],
            "width": 500,
            "height": 400,
            "frame": {"left": 0.0, "top": -50.0, "width": 500.0, "height": 500.0},
        },
        "by_modality": {"text": 2.1, "image": 0.4},
    }


def test_an_answer_survives_encoding_and_decoding() -> None:
    assert decode(CategoryExplained, encode(explained()), default_event_id="unused") == explained()


def test_an_explanation_that_does_not_add_up_cannot_be_made() -> None:
    assert explanation(value=2.0005).additivity_error == pytest.approx(0.0005)
    assert explanation(base_value=20_000 - 0.5, value=20_010).additivity_error == pytest.approx(8)
    with pytest.raises(ValidationError, match="should add up to value"):
        explanation(value=2.1)
    with pytest.raises(ValidationError, match="should add up to value"):
        explanation(image=None)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_value_of_an_explanation_is_other_than_finite(number: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        explanation(base_value=number)
    with pytest.raises(ValidationError, match="finite"):
        span("Robot", number)


def test_a_span_has_as_many_code_points_as_its_text() -> None:
    with pytest.raises(ValidationError, match="end - start code points"):
        span("Robot", 1.0, end=4)


def test_a_span_is_written_without_nul_and_keeps_its_length() -> None:
    assert span("a\0b", 1.0).text == "a\ufffdb"


def test_the_cells_of_a_picture_have_the_shape_of_its_grid() -> None:
    with pytest.raises(ValidationError, match="shape of the grid"):
        ImageAttribution(grid=(1, 2), attributions=((0.1,),), width=5, height=5)
    with pytest.raises(ValidationError, match="shape of the grid"):
        ImageAttribution(grid=(2, 1), attributions=((0.1,),), width=5, height=5)


def test_an_explanation_has_another_id_than_an_assignment() -> None:
    assert explanation_id("a", "b", "c") != assignment_id("a", "b", "c")
    assert explanation_id("a", "b", "c") == explanation_id("a", "b", "c")
