"""category-assigned: the category Shelver gave a product, and what it was decided on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

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
    """One category and how sure the model is.

    Attributes:
        code: Its code in the label set of the model version.
        label: Its name.
        probability: 0 to 1, calibrated; NaN is refused.
    """

    code: CategoryCode
    label: str
    probability: Annotated[float, Field(ge=0.0, le=1.0)]


class Modalities(Part):
    """Which evidence the category rests on."""

    text: TextUse
    image: ImageUse


class ModelReference(Part):
    """A model version, such as `fusion` `7`."""

    name: str
    version: str


class SourceReference(Part):
    """The record an output was made from."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


class CategoryAssigned(Message):
    """The category of one product.

    Attributes:
        assignment_id: The same for the same event and model version, so that consumers can drop duplicates.
        event_id: The listing it answers.
        product_id: The product; the key of the record.
        category: The most probable category.
        alternatives: The next most probable ones, in falling order.
        modalities: Which evidence was used.
        image_reason: Why the picture was unavailable, a short code such as `timeout` or `too_large`.
        model: The version that decided.
        source: The record the listing came in, or `None` when it came another way.
        assigned_at: When it was decided.
    """

    EVENT_TYPE: ClassVar[str] = "shelver.category.assigned"
    IDENTIFIER_FIELD: ClassVar[str] = "assignment_id"
    TIME_FIELD: ClassVar[str | None] = "assigned_at"
    KEEP_NULLS: ClassVar[bool] = True

    assignment_id: Identifier
    event_id: Identifier
    product_id: Identifier
    category: AssignedCategory
    alternatives: tuple[AssignedCategory, ...] = ()
    modalities: Modalities
    image_reason: str | None = None
    model: ModelReference
    source: SourceReference | None = None
    assigned_at: Instant


def assignment_id(event_id: str, name: str, version: str) -> str:
    """Return the id of the assignment that a model version makes for an event, see `derived_id`."""
    return derived_id(event_id, name, version)
