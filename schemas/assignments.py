"""category-assigned: the category Shelver gave a product, and what it was decided on."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from schemas.base import CategoryCode, Identifier, Instant, Message, Part, derived_id

__all__ = [
    "AssignedCategory",
    "CategoryAssigned",
    "ImageUse",
    "Modalities",
    "ModelReference",
    "SourceReference",
    "TextUse",
    "assignment_id",
]


class TextUse(StrEnum):
    """What became of the text: `truncated` was used as far as the model reads."""

    USED = "used"
    ABSENT = "absent"
    TRUNCATED = "truncated"


class ImageUse(StrEnum):
    """What became of the picture.

    `unavailable` was asked for and could not be had or read; `skipped` was not looked at, as the text alone
    is certain enough.
    """

    USED = "used"
    ABSENT = "absent"
    UNAVAILABLE = "unavailable"
    SKIPPED = "skipped"


class AssignedCategory(Part):
    """One category and how sure the model is."""

    code: CategoryCode = Field(description="Its code in the label set of the model version.")
    label: str = Field(description="Its name.")
    probability: float = Field(ge=0.0, le=1.0, description="How sure the model is, 0 to 1, calibrated.")


class Modalities(Part):
    """Which evidence the category rests on."""

    text: TextUse = Field(description="What became of title and description.")
    image: ImageUse = Field(description="What became of the picture.")


class ModelReference(Part):
    """A model version, such as `fusion` `7`."""

    name: str = Field(description="Name of the model in its repository.")
    version: str = Field(description="Its version, which never changes.")


class SourceReference(Part):
    """The record an output was made from."""

    topic: str = Field(description="Its topic.")
    partition: int = Field(ge=0, description="Its partition.")
    offset: int = Field(ge=0, description="Its offset.")


class CategoryAssigned(Message):
    """The category of one product."""

    EVENT_TYPE: ClassVar[str] = "shelver.category.assigned"
    IDENTIFIER_FIELD: ClassVar[str] = "assignment_id"
    TIME_FIELD: ClassVar[str | None] = "assigned_at"
    KEEP_NULLS: ClassVar[bool] = True

    assignment_id: Identifier = Field(
        description="The same for the same event and model version, so that duplicates can be dropped."
    )
    event_id: Identifier = Field(description="The listing it answers.")
    product_id: Identifier = Field(description="The product; also the key of the record.")
    category: AssignedCategory = Field(description="The most probable category.")
    alternatives: tuple[AssignedCategory, ...] = Field(
        default=(), description="The next most probable ones, in falling order."
    )
    modalities: Modalities = Field(description="Which evidence was used.")
    image_reason: str | None = Field(
        default=None,
        description="Why the picture was unavailable, a short code such as `timeout` or `too_large`.",
    )
    model: ModelReference = Field(description="The version that decided.")
    source: SourceReference | None = Field(
        default=None, description="The record the listing came in; null when it came another way."
    )
    assigned_at: Instant = Field(description="When it was decided, in UTC.")


def assignment_id(event_id: str, name: str, version: str) -> str:
    """Return the id of the assignment that a model version makes for an event, see `derived_id`."""
    return derived_id(event_id, name, version)
