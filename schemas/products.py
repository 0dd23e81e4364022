"""product-listed: a product that somebody put on sale."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Identifier, Instant, Message, Part

__all__ = ["ImageReference", "ProductListed"]

_OTHER_NAMES: Final = (("designation", "title"), ("productid", "product_id"), ("imageid", "product_id"))
"""The names of the Rakuten challenge and ours; of several for one field the first that has a value counts."""


def _empty_when_null(value: object) -> object:
    return "" if value is None else value


def _false_when_null(value: object) -> object:
    return False if value is None else value


def _none_when_all_null(value: object) -> object:
    """Read an image whose known fields are all null as no image; `{}` and misspelt fields stay wrong."""
    if isinstance(value, dict):
        known = [value[name] for name in ("url", "data") if name in value]
        if known and all(content is None for content in known):
            return None
    return value


class ImageReference(Part):
    """Where the picture of a product is: exactly one of the two fields has a value.

    Attributes:
        url: An address to fetch it from; which addresses are allowed is decided where it is fetched.
        data: The file itself in base64; it is decoded where the picture is, so that a damaged one
            costs the event its picture only.
    """

    url: str | None = Field(default=None, description="Address of the picture.")
    data: str | None = Field(default=None, description="The picture file in base64.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.url is None) == (self.data is None):
            raise PydanticCustomError("image_reference", "should have exactly one of url and data")
        return self


class ProductListed(Message):
    """A product to classify. One without text and without image is still a valid message.

    Attributes:
        event_id: Identifies this event; outputs derived from it carry ids derived from it.
        product_id: Identifies the product; the key of the record.
        title: What it is called; null reads as empty.
        description: More text, often HTML.
        image: Where its picture is.
        listed_at: When it was listed.
        explain: Ask for an explanation once it is classified; null reads as false.
    """

    EVENT_TYPE: ClassVar[str] = "shelver.product.listed"
    IDENTIFIER_FIELD: ClassVar[str] = "event_id"
    TIME_FIELD: ClassVar[str] = "listed_at"

    event_id: Identifier = Field(description="Identifies this event.")
    product_id: Identifier = Field(description="Identifies the product; also the key of the record.")
    title: Annotated[str, BeforeValidator(_empty_when_null)] = Field(
        default="", description="What the product is called."
    )
    description: str | None = Field(default=None, description="More text, plain or HTML.")
    image: Annotated[ImageReference | None, BeforeValidator(_none_when_all_null)] = Field(
        default=None, description="Where the picture is."
    )
    listed_at: Instant | None = Field(default=None, description="When the product was listed.")
    explain: Annotated[bool, BeforeValidator(_false_when_null)] = Field(
        default=False, description="Ask for an explanation of the category."
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_other_names(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not any(name in fields for name, _ in _OTHER_NAMES):
            return fields
        renamed = dict(fields)
        for other, ours in _OTHER_NAMES:
            if renamed.get(ours) is None and renamed.get(other) is not None:
                renamed[ours] = renamed[other]
        return renamed
