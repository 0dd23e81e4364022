"""explanation-requested and category-explained: why a product got its category.

All values are logits. What holds for every explanation: its base value plus all attributions, of text spans
and of image cells, is its value.
"""

from __future__ import annotations

from enum import StrEnum
from math import fsum
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError

from schemas.assignments import ModelReference
from schemas.base import CategoryCode, Identifier, Instant, Message, Part, derived_id
from schemas.products import ProductListed, with_values

__all__ = [
    "CategoryExplained",
    "CategoryReference",
    "Explanation",
    "ExplanationMethod",
    "ExplanationRequested",
    "Frame",
    "ImageAttribution",
    "ModalityAttribution",
    "TextAttribution",
    "TextField",
    "explanation_id",
    "explanation_request_id",
]

ADDITIVITY_TOLERANCE: Final = 1e-3
"""Largest gap between a value and what its attributions add up to, relative for values beyond 1."""

MAX_CATEGORIES: Final = 100

_TWO_POSITIVE_INTEGERS: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "integer", "exclusiveMinimum": 0},
    "minItems": 2,
    "maxItems": 2,
}


class TextField(StrEnum):
    """The field of the listing a span lies in."""

    TITLE = "title"
    DESCRIPTION = "description"


class ExplanationRequested(Message):
    """A question: why this category? The product comes with it, or the id of an event that was listed."""

    EVENT_TYPE: ClassVar[str] = "shelver.explanation.requested"
    IDENTIFIER_FIELD: ClassVar[str] = "request_id"

    request_id: Identifier = Field(
        description="Identifies this request. Left out: the CloudEvents id, else `topic-partition-offset`."
    )
    product: ProductListed | None = Field(
        default=None,
        description="The listing to explain; its event id is the one beside it, else the request's own.",
    )
    event_id: Identifier | None = Field(default=None, description="A listing that came before.")
    categories: Annotated[tuple[CategoryCode, ...], Field(max_length=MAX_CATEGORIES)] | None = Field(
        default=None, description="Codes to explain; null for the most probable category."
    )
    max_evaluations: PositiveInt | None = Field(
        default=None,
        description="The most times the model may be run for it, which explains the picture on its pixels;"
        " null for the exact explanation.",
    )

    @classmethod
    def _describe_what_is_read(cls, schema: JsonSchemaValue) -> None:
        """Say that there has to be something to explain."""
        super()._describe_what_is_read(schema)
        schema["anyOf"] = [
            with_values({"product": "object"}, required="product"),
            with_values({"event_id": ["string", "number"]}, required="event_id"),
        ]

    @model_validator(mode="before")
    @classmethod
    def _name_the_listing(cls, fields: Any) -> Any:
        product = fields.get("product") if isinstance(fields, dict) else None
        if not isinstance(product, dict) or product.get("event_id") not in (None, ""):
            return fields
        event_id = fields.get("event_id") or fields.get("request_id")
        return {**fields, "product": {**product, "event_id": event_id}}

    @model_validator(mode="after")
    def _something_to_explain(self) -> Self:
        if self.product is None and self.event_id is None:
            raise PydanticCustomError("explanation_requested", "should have a product or an event_id")
        return self


class CategoryReference(Part):
    """The category an explanation is about."""

    code: CategoryCode = Field(description="Its code in the label set of the model version.")
    label: str = Field(description="Its name.")


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")


class TextAttribution(Part):
    """What one span of a text adds to the logit."""

    field: TextField = Field(description="Where the span lies.")
    start: NonNegativeInt = Field(description="Its first code point in the field as received.")
    end: NonNegativeInt = Field(description="One past its last code point.")
    text: Annotated[str, AfterValidator(_without_nul)] = Field(
        description="The span itself; U+0000 is written as U+FFFD, since many a sink breaks on it."
    )
    attribution: float = Field(description="What it adds.")

    @model_validator(mode="after")
    def _span_of_the_text(self) -> Self:
        if self.end - self.start != len(self.text):
            raise PydanticCustomError("text_attribution", "text should have end - start code points")
        return self


class Frame(Part):
    """A rectangle on a picture, in pixels of the upright picture; it may reach beyond its edges."""

    left: float = Field(description="Of its left edge, from the left of the picture.")
    top: float = Field(description="Of its upper edge, from the top of the picture.")
    width: float = Field(gt=0, description="From edge to edge.")
    height: float = Field(gt=0, description="From edge to edge.")


class ImageAttribution(Part):
    """What each cell of a grid over the picture adds to the logit."""

    grid: Annotated[tuple[PositiveInt, PositiveInt], WithJsonSchema(_TWO_POSITIVE_INTEGERS)] = Field(
        description="Rows and columns."
    )
    attributions: tuple[tuple[float, ...], ...] = Field(
        description="One row of numbers for each row of the grid, from the top left."
    )
    width: PositiveInt = Field(description="Of the picture as received, upright, in pixels.")
    height: PositiveInt = Field(description="Of the same.")
    frame: Frame | None = Field(
        default=None,
        description="Where the grid lies on the picture; null for all of it. Models see a square, so the"
        " frame of a picture that is none reaches beyond it, or leaves some of it out.",
    )

    @model_validator(mode="after")
    def _as_large_as_the_grid(self) -> Self:
        rows, columns = self.grid
        if len(self.attributions) != rows or any(len(row) != columns for row in self.attributions):
            raise PydanticCustomError("image_attribution", "attributions should have the shape of the grid")
        return self


class ModalityAttribution(Part):
    """What each modality adds to the logit: the sum of its attributions."""

    text: float = Field(description="Sum over the spans of the text.")
    image: float = Field(description="Sum over the cells of the picture.")


class Explanation(Part):
    """Why one category has the logit it has: base value plus all attributions is the value."""

    category: CategoryReference = Field(description="The category.")
    base_value: float = Field(description="The logit before anything is known of the product.")
    value: float = Field(description="The logit of the product.")
    text: tuple[TextAttribution, ...] = Field(default=(), description="Spans in reading order, title first.")
    image: ImageAttribution | None = Field(
        default=None, description="Cells of the picture; null where there is none."
    )
    by_modality: ModalityAttribution = Field(description="The same, summed up.")

    @property
    def additivity_error(self) -> float:
        """The distance between the value and the base value plus all attributions, in logits."""
        spans = (span.attribution for span in self.text)
        cells = (cell for row in self.image.attributions for cell in row) if self.image else ()
        return abs(fsum((self.base_value, *spans, *cells)) - self.value)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.additivity_error > ADDITIVITY_TOLERANCE * max(1.0, abs(self.value)):
            raise PydanticCustomError("additivity", "base_value and attributions should add up to value")
        return self


class ExplanationMethod(Part):
    """How the values were found."""

    text: str | None = Field(
        default=None, description="Name of the method for the text; null where there was none."
    )
    image: str | None = Field(
        default=None, description="Name of the method for the picture; null where there was none."
    )
    evaluations: NonNegativeInt = Field(description="How many times the model was run.")


class CategoryExplained(Message):
    """Why a product got its category."""

    EVENT_TYPE: ClassVar[str] = "shelver.category.explained"
    IDENTIFIER_FIELD: ClassVar[str] = "explanation_id"
    TIME_FIELD: ClassVar[str | None] = "explained_at"
    KEEP_NULLS: ClassVar[bool] = True

    explanation_id: Identifier = Field(description="The same for the same request and model version.")
    request_id: Identifier = Field(description="The request it answers.")
    event_id: Identifier = Field(description="The listing it is about.")
    product_id: Identifier = Field(description="The product; also the key of the record.")
    model: ModelReference = Field(description="The version that is explained.")
    explanations: tuple[Explanation, ...] = Field(
        description="One for each category asked for, in that order."
    )
    method: ExplanationMethod = Field(description="How the values were found.")
    additivity_error: float = Field(
        ge=0.0, description="How far base value and attributions are from the value, at most, in logits."
    )
    explained_at: Instant = Field(description="When it was done, in UTC.")


def explanation_request_id(event_id: str) -> str:
    """Return the id of the request that a listing with `"explain": true` causes, see `derived_id`."""
    return derived_id("explanation-request", event_id)


def explanation_id(request_id: str, name: str, version: str) -> str:
    """Return the id of the answer that a model version gives to a request, see `derived_id`."""
    return derived_id("explanation", request_id, name, version)
