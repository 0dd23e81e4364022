"""CloudEvents 1.0 in JSON: read the attributes around a message, write those of an output.

Read: binary mode, where the attributes are headers (`ce_id`, or `ce-id` as HTTP writes it), and structured
mode, where the value is `{"specversion": ..., "id": ..., "data": {...}}`, with or without content type. Of
the attributes only the id and the time matter here: they stand in for fields the message leaves out. One that
cannot be used, such as an id that is not UTF-8 or a time that is none, counts as absent. Of a header given
twice the last counts.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from schemas.base import Identifier, Instant, Message
from schemas.errors import InvalidMessageError, MalformedError
from schemas.json_objects import parse_object

__all__ = ["Envelope", "Headers", "is_structured", "open_envelope", "output_headers"]

Headers = Sequence[tuple[str, bytes | None]]
"""Headers of a record in order; names may repeat, values may be missing or any bytes."""

T = TypeVar("T")

_READ_HEADERS: Final = {
    "ce_id": "id",
    "ce-id": "id",
    "ce_time": "time",
    "ce-time": "time",
    "content-type": "content-type",
}
_STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json"
_IDENTIFIER: Final[TypeAdapter[str]] = TypeAdapter(Identifier)
_INSTANT: Final[TypeAdapter[datetime]] = TypeAdapter(Instant)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and the attributes around it.

    Attributes:
        data: The fields of the message.
        raw_id: The id attribute as received, or `None`.
        raw_time: The time attribute as received, or `None`.
    """

    data: dict[str, Any]
    raw_id: object = None
    raw_time: object = None

    @property
    def event_id(self) -> str | None:
        """The id, or `None` when there is none fit for use."""
        return _or_none(_IDENTIFIER, self.raw_id)

    @property
    def time(self) -> datetime | None:
        """When it happened, or `None` when there is no time fit for use."""
        return _or_none(_INSTANT, self.raw_time)


def is_structured(fields: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a CloudEvent with its data inside."""
    return "specversion" in fields and ("data" in fields or "data_base64" in fields)


def open_envelope(fields: dict[str, Any], headers: Headers) -> Envelope:
    """Return the message fields of a record and the attributes that came with them.

    Args:
        fields: The JSON object in its value.
        headers: Its headers.

    Raises:
        MalformedError: The data of a structured CloudEvent is not a JSON object.
        InvalidMessageError: A record with the content type of a structured CloudEvent has no data.
    """
    attributes = _header_attributes(headers)
    structured = attributes.get("content-type", "").lower().startswith(_STRUCTURED_CONTENT_TYPE)
    if structured or is_structured(fields):
        return Envelope(_structured_data(fields), fields.get("id"), fields.get("time"))
    return Envelope(fields, attributes.get("id"), attributes.get("time"))


def output_headers(message: Message, *, source: str) -> list[tuple[str, bytes]]:
    """Return the headers that make the record of a message a CloudEvent in binary mode.

    Args:
        message: The message in the value.
        source: Who says it, a URI reference such as `/shelver/fusion`.
    """
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", getattr(message, message.IDENTIFIER_FIELD).encode()),
        ("ce_type", message.EVENT_TYPE.encode()),
        ("ce_source", source.encode()),
        ("content-type", b"application/json"),
    ]
    instant = getattr(message, message.TIME_FIELD) if message.TIME_FIELD else None
    if instant is not None:
        headers.append(("ce_time", instant.isoformat().replace("+00:00", "Z").encode()))
    return headers


def _header_attributes(headers: Headers) -> dict[str, str]:
    """Return the last value of each header that is read; bytes that are not UTF-8 become U+FFFD."""
    attributes = {}
    for name, content in headers:
        attribute = _READ_HEADERS.get(name.lower())
        if attribute is not None and content is not None:
            attributes[attribute] = content.decode(errors="replace")
    return attributes


def _structured_data(event: Mapping[str, Any]) -> dict[str, Any]:
    if event.get("data_base64") is not None:
        return _decoded_data(event["data_base64"])
    data = event.get("data")
    if data is None:
        raise InvalidMessageError("a CloudEvent without data; data should be the message", fields=("data",))
    if not isinstance(data, dict):
        raise MalformedError("the data of a CloudEvent should be a JSON object, not JSON inside a string")
    return data


def _decoded_data(encoded: object) -> dict[str, Any]:
    try:
        content = base64.b64decode(str(encoded), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("the data_base64 of a CloudEvent is not base64") from error
    return parse_object(content)


def _or_none(adapter: TypeAdapter[T], value: object) -> T | None:
    try:
        return None if value is None else adapter.validate_python(value)
    except ValidationError:
        return None
