"""product-listed: a product that somebody put on sale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.base import Flag, Identifier, Instant, Message, Part, Text, any_of

__all__ = ["ImageReference", "ProductListed"]

_OTHER_NAMES: Final = {"designation": "title", "productid": "product_id", "imageid": "product_id"}
"""The names of the Rakuten challenge and ours; of several for one field the first that has a value counts."""


class ImageReference(Part):
    """Where the picture of a product is: exactly one of the two fields has a value.

    Which addresses are allowed is decided where the picture is fetched, and data are decoded where it is, so
    that a damaged picture costs the event its picture only.
    """

    url: str | None = Field(default=None, description="Address of the picture.")
    data: str | None = Field(default=None, description="The picture file in base64.")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema, with what `_exactly_one` and the listing around it say of the two fields."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema["anyOf"] = [
            with_values({"url": "string", "data": "null"}, required="url"),
            with_values({"url": "null", "data": "string"}, required="data"),
            with_values({"url": "null", "data": "null"}, required="url"),
            with_values({"url": "null", "data": "null"}, required="data"),
        ]
        return schema

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.url is None) == (self.data is None):
            raise PydanticCustomError("image_reference", "should have exactly one of url and data")
        return self


class ProductListed(Message):
    """A product to classify. One without text and without image is still a valid message."""

    EVENT_TYPE: ClassVar[str] = "shelver.product.listed"
    IDENTIFIER_FIELD: ClassVar[str] = "event_id"
    TIME_FIELD: ClassVar[str | None] = "listed_at"

    event_id: Identifier = Field(
        description="Identifies this event; ids of what it causes follow from it. Left out: the CloudEvents"
        " id, else `topic-partition-offset`."
    )
    product_id: Identifier = Field(description="Identifies the product; also the key of the record.")
    title: Text = Field(default="", description="What the product is called; null reads as empty.")
    description: str | None = Field(default=None, description="More text, plain or HTML.")
    image: ImageReference | None = Field(default=None, description="Where the picture is.")
    listed_at: Instant | None = Field(
        default=None,
        description="When the product was listed. Left out: the CloudEvents time. Without an offset it is"
        " read as UTC, a number as seconds or (above 2e10) milliseconds.",
    )
    explain: Flag = Field(
        default=False,
        description="Ask for an explanation once the product is classified; null reads as false.",
    )

    @classmethod
    def _describe_what_is_read(cls, schema: JsonSchemaValue) -> None:
        """Say that fields have other names, of which one has to identify the product."""
        super()._describe_what_is_read(schema)
        properties = schema["properties"]
        names = ["product_id", *(name for name, ours in _OTHER_NAMES.items() if ours == "product_id")]
        properties["product_id"] = {
            **any_of(properties["product_id"], {"type": "null"}),
            "description": f"{properties['product_id']['description']} One of {_listed(names)} has a value.",
        }
        for name, ours in _OTHER_NAMES.items():
            properties[name] = {**properties[ours], "description": f"Read where `{ours}` has no value."}
        schema["required"].remove("product_id")
        schema["anyOf"] = [with_values({name: ["string", "number"]}, required=name) for name in names]

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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def with_values(types: Mapping[str, str | list[str]], *, required: str) -> JsonSchemaValue:
    """Return a schema of objects that have a field, and of whose fields some have these types."""
    return {"required": [required], "properties": {name: {"type": kind} for name, kind in types.items()}}


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
