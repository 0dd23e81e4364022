"""category-corrected: what a person says the category of a product should have been."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from schemas.base import CategoryCode, Identifier, Instant, Message, Part

__all__ = ["CategoryCorrected", "CorrectCategory"]


class CorrectCategory(Part):
    """The category a person chose."""

    code: CategoryCode = Field(description="Its code in the label set of the model that was corrected.")
    label: str | None = Field(default=None, description="Its name as the person saw it.")


class CategoryCorrected(Message):
    """A person's word on one product; a correction that agrees with the assignment confirms it."""

    EVENT_TYPE: ClassVar[str] = "shelver.category.corrected"
    IDENTIFIER_FIELD: ClassVar[str] = "correction_id"
    TIME_FIELD: ClassVar[str | None] = "corrected_at"

    correction_id: Identifier = Field(
        description="Identifies this correction. Left out: the CloudEvents id, else `topic-partition-offset`."
    )
    product_id: Identifier = Field(description="Identifies the product; also the key of the record.")
    category: CorrectCategory = Field(description="What the category should have been.")
    event_id: Identifier | None = Field(
        default=None, description="The listing that was classified, where known."
    )
    assignment_id: Identifier | None = Field(
        default=None, description="The assignment that is corrected, where known."
    )
    corrected_by: str | None = Field(
        default=None, description="Who says so, as the tool that sent it names people."
    )
    comment: str | None = Field(default=None, description="Why, in words.")
    corrected_at: Instant | None = Field(
        default=None, description="When it was said. Left out: the CloudEvents time."
    )
