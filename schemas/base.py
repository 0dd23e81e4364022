"""What all messages have in common: frozen models, exact identifiers, ids derived from others.

The field types are pydantic-core schemas with the usual case first: a Python validator in each of them would
double the time a message takes, and a listing is read for every event.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

from jiter import LosslessFloat
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, GetPydanticSchema, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "MAX_IDENTIFIER_CHARACTERS",
    "CategoryCode",
    "Flag",
    "Identifier",
    "Instant",
    "Message",
    "Part",
    "Text",
    "derived_id",
]

MAX_IDENTIFIER_CHARACTERS: Final = 512

_LAST_MILLISECOND: Final = 253_402_300_799_999
"""The end of the year 9999."""

_NAMESPACE: Final = UUID("0a7ff5ad-6f0f-53a9-9c5b-2a3c6a1d5e8f").bytes

_FIT: Final = r"[^\p{Cc}\u{FFFD}]"
_FIT_AND_VISIBLE: Final = r"[^\p{Cc}\u{FFFD}\s]"
_IDENTIFIER_SHOULD: Final = (
    "should be a string or a number of 1 to 512 characters, not blank, without control characters and U+FFFD"
)
# Of escapes only those that all dialects of regular expressions read alike, so no \p and no \s.
_CONTROL_OR_DAMAGED: Final = "[\\x00-\\x1f\\x7f-\\x9f\ufffd]"
_VISIBLE: Final = "[^ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_IDENTIFIER_LIMITS: Final[dict[str, Any]] = {
    "minLength": 1,
    "maxLength": MAX_IDENTIFIER_CHARACTERS,
    "pattern": _VISIBLE,
    "not": {"type": "string", "pattern": _CONTROL_OR_DAMAGED},
}


def _number_text(value: object) -> str:
    """Return the exact text of a number of JSON.

    Raises:
        ValueError: It is none (a boolean is none), or its text is too long.
    """
    if type(value) is int:
        text = str(value)
    elif isinstance(value, LosslessFloat):
        text = bytes(value).decode("ascii")
    else:
        raise ValueError("not a number")
    if len(text) > MAX_IDENTIFIER_CHARACTERS:
        raise ValueError("too long")
    return text


def _in_utc_unless_said(instant: datetime) -> datetime:
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _first_of(kind: str, should: str, *choices: CoreSchema) -> GetPydanticSchema:
    """Validate with the first choice that takes the value; if none does, say `should` once."""
    schema = core_schema.union_schema(
        list(choices), mode="left_to_right", custom_error_type=kind, custom_error_message=should
    )
    # A copy each time: pydantic writes what a field says of itself into the schema that it is given.
    return GetPydanticSchema(lambda _source, _handler: schema.copy())


def _or_null(schema: CoreSchema, *, default: object) -> tuple[CoreSchema, CoreSchema]:
    null = core_schema.no_info_after_validator_function(lambda _: default, core_schema.none_schema())
    return schema, null


Identifier = Annotated[
    str,
    _first_of(
        "identifier",
        _IDENTIFIER_SHOULD,
        core_schema.str_schema(
            strict=True,
            max_length=MAX_IDENTIFIER_CHARACTERS,
            pattern=f"^{_FIT}*{_FIT_AND_VISIBLE}{_FIT}*$",
        ),
        core_schema.no_info_plain_validator_function(_number_text),
    ),
    WithJsonSchema({"type": ["string", "number"], **_IDENTIFIER_LIMITS}, "validation"),
    WithJsonSchema({"type": "string", **_IDENTIFIER_LIMITS}, "serialization"),
]
"""A string or number of JSON, kept digit for digit: `3804725264.0` stays `"3804725264.0"`.

Text that could not be told from another identifier is refused rather than changed: blank text, control
characters, and U+FFFD, which stands where text was damaged.
"""

Text = Annotated[
    str,
    _first_of(
        "text", "should be a string or null", *_or_null(core_schema.str_schema(strict=True), default="")
    ),
    WithJsonSchema({"type": ["string", "null"]}, "validation"),
    WithJsonSchema({"type": "string"}, "serialization"),
]
"""A string; null reads as the empty one."""

Flag = Annotated[
    bool,
    _first_of("flag", "should be true, false or null", *_or_null(core_schema.bool_schema(), default=False)),
    WithJsonSchema({"type": ["boolean", "null"]}, "validation"),
    WithJsonSchema({"type": "boolean"}, "serialization"),
]
"""True or false; null reads as false."""

Instant = Annotated[
    datetime,
    _first_of(
        "instant",
        "should be a time such as 2026-11-25T08:00:00Z",
        core_schema.datetime_schema(tz_constraint="aware"),
        core_schema.no_info_after_validator_function(_in_utc_unless_said, core_schema.datetime_schema()),
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "number", "minimum": 0, "maximum": _LAST_MILLISECOND},
            ]
        },
        "validation",
    ),
    WithJsonSchema({"type": "string", "format": "date-time"}, "serialization"),
]
"""A point in time; without an offset it is read as UTC, a number as seconds or (above 2e10) milliseconds."""

CategoryCode = Annotated[
    int | str,
    _first_of(
        "category_code",
        "should be an integer or a string",
        core_schema.int_schema(strict=True),
        core_schema.str_schema(strict=True),
    ),
]
"""The code of a category as the label set of the model version has it: `2583` and `"2583"` differ."""


class Part(BaseModel):
    """A piece of a message: frozen, unknown fields ignored, no number that JSON cannot hold."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Message(Part):
    """The typed body of a record.

    Attributes:
        EVENT_TYPE: Its CloudEvents type.
        IDENTIFIER_FIELD: The field that identifies the event; filled in when a producer leaves it out.
        TIME_FIELD: The field that says when it happened, or `None`; filled in likewise.
        KEEP_NULLS: Write fields that are `None` as null instead of leaving them out.
    """

    EVENT_TYPE: ClassVar[str]
    IDENTIFIER_FIELD: ClassVar[str]
    TIME_FIELD: ClassVar[str | None] = None
    KEEP_NULLS: ClassVar[bool] = False

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema; in what is read the identifier may be left out, since the codec fills it in."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if handler.mode == "validation":
            cls._describe_what_is_read(schema)
        return schema

    @classmethod
    def _describe_what_is_read(cls, schema: JsonSchemaValue) -> None:
        """Change `schema` into one of what is accepted, where the fields alone do not say it."""
        identifier = schema["properties"][cls.IDENTIFIER_FIELD]
        schema["properties"][cls.IDENTIFIER_FIELD] = any_of(identifier, {"type": "null"}, {"const": ""})
        schema["required"] = [name for name in schema.get("required", ()) if name != cls.IDENTIFIER_FIELD]


def any_of(field: JsonSchemaValue, *others: JsonSchemaValue) -> JsonSchemaValue:
    """Return the schema of a field whose value may also be one of `others`."""
    rules = dict(field)
    told: JsonSchemaValue = {name: rules.pop(name) for name in ("title", "description") if name in rules}
    return {"anyOf": [rules, *others], **told}


def derived_id(*parts: str) -> str:
    """Return the id that follows from other identifiers: the same parts give the same id on every machine.

    A name-based UUID of version 5 (RFC 9562, 5.5) in a namespace of Shelver's own, over the parts joined by
    line feeds, which no identifier can hold. `uuid.uuid5` gives the same and takes three times as long.
    """
    name = _NAMESPACE + "\n".join(parts).encode()
    digits = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
