"""product-listed: a product that somebody put on sale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Flag, Identifier, Instant, Message, Part, Text

__all__ = ["ImageReference", "ProductListed"]

_OTHER_NAMES: Final = {"designation": "title", "productid": "product_id", "imageid": "product_id"}
"""The names of the Rakuten challenge and ours; of several for one field the first that has a value counts."""


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
    TIME_FIELD: ClassVar[str | None] = "listed_at"

    event_id: Identifier = Field(description="Identifies this event.")
    product_id: Identifier = Field(description="Identifies the product; also the key of the record.")
    title: Text = Field(default="", description="What the product is called.")
    description: str | None = Field(default=None, description="More text, plain or HTML.")
    image: ImageReference | None = Field(default=None, description="Where the picture is.")
    listed_at: Instant | None = Field(default=None, description="When the product was listed.")
    explain: Flag = Field(default=False, description="Ask for an explanation of the category.")

    @model_validator(mode="before")
    @classmethod
    def _as_producers_write_it(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if not _OTHER_NAMES.keys().isdisjoint(fields):
            fields = _with_our_names(fields)
        if _is_all_null(fields.get("image")):
            fields = {**fields, "image": None}
        return fields


def _with_our_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    renamed = dict(fields)
    for other, ours in _OTHER_NAMES.items():
        if renamed.get(ours) is None and renamed.get(other) is not None:
            renamed[ours] = renamed[other]
    return renamed


def _is_all_null(image: object) -> bool:
    """Whether this is an image with nothing in its fields, which is none; `{}` and other names stay wrong."""
    if not isinstance(image, dict) or image.get("url") is not None or image.get("data") is not None:
        return False
    return "url" in image or "data" in image
