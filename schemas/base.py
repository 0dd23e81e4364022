"""What all messages have in common: frozen models, and identifiers that keep every digit."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final

from jiter import LosslessFloat
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

__all__ = ["MAX_IDENTIFIER_CHARACTERS", "CategoryCode", "Identifier", "Instant", "Message", "Part"]

MAX_IDENTIFIER_CHARACTERS: Final = 512

_UNFIT_FOR_IDENTIFIERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


def _identifier(value: object) -> str:
    """Return the exact text of a JSON string or number.

    Raises:
        PydanticCustomError: For anything else, and for text that could not be told from another identifier:
            blank, too long, with control characters or with U+FFFD, which stands where text was damaged.
    """
    text = value if type(value) is str else _number_text(value)
    if not text or text.isspace():
        raise PydanticCustomError("identifier", "should not be blank")
    if len(text) > MAX_IDENTIFIER_CHARACTERS:
        raise PydanticCustomError("identifier", "should have at most 512 characters")
    if _UNFIT_FOR_IDENTIFIERS.search(text):
        raise PydanticCustomError("identifier", "should have no control characters and no U+FFFD")
    return text


def _number_text(value: object) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, LosslessFloat):
        return bytes(value).decode("ascii")
    raise PydanticCustomError("identifier", "should be a string or a number")


def _in_utc_unless_said(instant: datetime) -> datetime:
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


Identifier = Annotated[str, BeforeValidator(_identifier, json_schema_input_type=str | int)]
"""A string or number of JSON, kept digit for digit: `3804725264.0` stays `"3804725264.0"`."""

Instant = Annotated[datetime, AfterValidator(_in_utc_unless_said)]
"""A point in time; without an offset it is read as UTC, a number as seconds or (above 2e10) milliseconds."""

CategoryCode = StrictInt | StrictStr
"""The code of a category as the label set of the model version has it: `2583` and `"2583"` differ."""


class Part(BaseModel):
    """A piece of a message: frozen, unknown fields ignored, no number that JSON cannot hold."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Message(Part):
    """The typed body of a record.

    Attributes:
        EVENT_TYPE: Its CloudEvents type.
        IDENTIFIER_FIELD: The field that identifies the event; a default fills it when a producer leaves it out.
        TIME_FIELD: The field that says when it happened; a default fills it too.
        KEEP_NULLS: Write fields that are `None` as null instead of leaving them out.
    """

    EVENT_TYPE: ClassVar[str]
    IDENTIFIER_FIELD: ClassVar[str]
    TIME_FIELD: ClassVar[str]
    KEEP_NULLS: ClassVar[bool] = False
