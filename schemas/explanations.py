"""explanation-requested and category-explained: why a product got its category.

All values are logits. What holds for every explanation: its base value plus all attributions, of text spans
and of image cells, is its value.
"""

from __future__ import annotations

from enum import StrEnum
from math import fsum
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from schemas.assignments import ModelReference
from schemas.base import CategoryCode, Identifier, Instant, Message, Part, derived_id
from schemas.products import ProductListed

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


class TextField(StrEnum):
    """The field of the listing a span lies in."""

    TITLE = "title"
    DESCRIPTION = "description"


class ExplanationRequested(Message):
    """A question: why this category? The product comes with it, or the id of an event that was listed.

    Attributes:
        request_id: Identifies this request.
        product: The listing to explain; its event id is the one beside it, else the request's own.
        event_id: A listing that came before.
        categories: Codes to explain; `None` for the most probable category.
        max_evaluations: The most times the model may be run for it; `None` for the default.
    """

    EVENT_TYPE: ClassVar[str] = "shelver.explanation.requested"
    IDENTIFIER_FIELD: ClassVar[str] = "request_id"

    request_id: Identifier = Field(description="Identifies this request.")
    product: ProductListed | None = Field(default=None, description="The listing to explain.")
    event_id: Identifier | None = Field(default=None, description="A listing that came before.")
    categories: Annotated[tuple[CategoryCode, ...], Field(max_length=MAX_CATEGORIES)] | None = Field(
        default=None, description="Codes to explain; null for the most probable category."
    )
    max_evaluations: PositiveInt | None = Field(default=None, description="The most runs of the model.")

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

    code: CategoryCode
    label: str


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")


class TextAttribution(Part):
    """What one span of a text adds to the logit.

    Attributes:
        field: Where the span lies.
        start: Its first code point in the field as received.
        end: One past its last code point.
        text: The span itself; U+0000 is written as U+FFFD, since many a sink breaks on it.
        attribution: What it adds.
    """

    field: TextField
    start: NonNegativeInt
    end: NonNegativeInt
    text: Annotated[str, AfterValidator(_without_nul)]
    attribution: float

    @model_validator(mode="after")
    def _span_of_the_text(self) -> Self:
        if self.end - self.start != len(self.text):
            raise PydanticCustomError("text_attribution", "text should have end - start code points")
        return self


class Frame(Part):
    """A rectangle on a picture, in pixels of the upright picture; it may reach beyond its edges.

    Attributes:
        left: Of its left edge, from the left of the picture.
        top: Of its upper edge, from the top of the picture.
        width: From edge to edge.
        height: From edge to edge.
    """

    left: float
    top: float
    width: Annotated[float, Field(gt=0)]
    height: Annotated[float, Field(gt=0)]


class ImageAttribution(Part):
    """What each cell of a grid over the picture adds to the logit.

    Attributes:
        grid: Rows and columns.
        attributions: One row of numbers for each row of the grid, from the top left.
        width: Of the picture as received, upright, in pixels.
        height: Of the same.
        frame: Where the grid lies on the picture; `None` for all of it. Models see a square, so the frame of
            a picture that is none reaches beyond it, or leaves some of it out.
    """

    grid: tuple[PositiveInt, PositiveInt]
    attributions: tuple[tuple[float, ...], ...]
    width: PositiveInt
    height: PositiveInt
    frame: Frame | None = None

    @model_validator(mode="after")
    def _as_large_as_the_grid(self) -> Self:
        rows, columns = self.grid
        if len(self.attributions) != rows or any(len(row) != columns for row in self.attributions):
            raise PydanticCustomError("image_attribution", "attributions should have the shape of the grid")
        return self


class ModalityAttribution(Part):
    """What each modality adds to the logit: the sum of its attributions."""

    text: float
    image: float


class Explanation(Part):
    """Why one category has the logit it has: base value plus all attributions is the value.

    Attributes:
        category: The category.
        base_value: The logit before anything is known of the product.
        value: The logit of the product.
        text: Spans in reading order, title first.
        image: Cells of the picture, or `None` where there is none.
        by_modality: The same, summed up.
    """

    category: CategoryReference
    base_value: float
    value: float
    text: tuple[TextAttribution, ...] = ()
    image: ImageAttribution | None = None
    by_modality: ModalityAttribution

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
    """How the values were found.

    Attributes:
        text: Name of the method for the text, or `None` where there was none.
        image: Name of the method for the picture, or `None`.
        evaluations: How many times the model was run.
    """

    text: str | None = None
    image: str | None = None
    evaluations: NonNegativeInt


class CategoryExplained(Message):
    """Why a product got its category.

    Attributes:
        explanation_id: The same for the same request and model version.
        request_id: The request it answers.
        event_id: The listing it is about.
        product_id: The product; the key of the record.
        model: The version that is explained.
        explanations: One for each category asked for, in that order.
        method: How the values were found.
        additivity_error: The largest of its explanations, in logits.
        explained_at: When it was done.
    """

    EVENT_TYPE: ClassVar[str] = "shelver.category.explained"
    IDENTIFIER_FIELD: ClassVar[str] = "explanation_id"
    TIME_FIELD: ClassVar[str | None] = "explained_at"
    KEEP_NULLS: ClassVar[bool] = True

    explanation_id: Identifier
    request_id: Identifier
    event_id: Identifier
    product_id: Identifier
    model: ModelReference
    explanations: tuple[Explanation, ...]
    method: ExplanationMethod
    additivity_error: Annotated[float, Field(ge=0.0)]
    explained_at: Instant


def explanation_request_id(event_id: str) -> str:
    """Return the id of the request that a listing with `"explain": true` causes, see `derived_id`."""
    return derived_id("explanation-request", event_id)


def explanation_id(request_id: str, name: str, version: str) -> str:
    """Return the id of the answer that a model version gives to a request, see `derived_id`."""
    return derived_id("explanation", request_id, name, version)
