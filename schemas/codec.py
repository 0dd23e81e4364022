"""The bytes and headers of a record to a message and back: one decoder for Kafka, HTTP and files.

What is accepted as JSON stands in `schemas.json_objects`, how CloudEvents are read in `schemas.cloudevents`,
which fields a message has in the module of its topic. Whatever the bytes, only `MessageError` comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from schemas.base import Message
from schemas.cloudevents import Envelope, Headers, is_structured, open_envelope
from schemas.dead_letters import BATCH_HEADER
from schemas.errors import InvalidMessageError, MessageTooLargeError, UnreadableBatchError
from schemas.json_objects import parse_object

__all__ = ["DEFAULT_MAX_MESSAGE_BYTES", "Headers", "decode", "encode", "validate"]

M = TypeVar("M", bound=Message)

DEFAULT_MAX_MESSAGE_BYTES: Final = 10 * 1024 * 1024

_SHOULD: Final = {"model_type": "should be an object", "string_type": "should be a string"}
_SHOWN_CHARACTERS: Final = 40
_SHOWN_ERRORS: Final = 5


def decode(
    message_type: type[M],
    value: bytes,
    headers: Headers = (),
    *,
    default_event_id: str,
    max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> M:
    """Return the message in a record's value and headers.

    Args:
        message_type: What it should be.
        value: The value; a tombstone (`None`) is no message and the caller's business.
        headers: The headers in order; names may repeat, values may be `None` or any bytes.
        default_event_id: Its id when neither the message nor a CloudEvents attribute gives one.
        max_bytes: The largest value accepted.

    Raises:
        UnreadableBatchError: The record stands for a batch that could not be read.
        MessageTooLargeError: The value is larger than `max_bytes`.
        MalformedError: It is not exactly one JSON object in UTF-8.
        FramingError: It is framed by a schema registry and not JSON.
        InvalidMessageError: Its fields are not those of `message_type`.
    """
    _refuse_batch(headers)
    if len(value) > max_bytes:
        message = f"the value has {len(value)} bytes; at most {max_bytes} are accepted"
        raise MessageTooLargeError(message, size_bytes=len(value), limit_bytes=max_bytes)
    fields = parse_object(value)
    envelope = open_envelope(fields, headers) if headers or is_structured(fields) else Envelope(fields)
    fields = _filled_in(message_type, envelope, default_event_id)
    return validate(message_type, fields)


def validate(message_type: type[M], fields: Mapping[str, Any]) -> M:
    """Return the message with these fields.

    Raises:
        InvalidMessageError: They are not those of `message_type`.
    """
    try:
        return message_type.model_validate(fields)
    except ValidationError as error:
        raise _invalid(message_type, error) from error


def encode(message: Message) -> bytes:
    """Return the JSON of a message in UTF-8, without spaces and never with NaN."""
    return message.__pydantic_serializer__.to_json(message, exclude_none=not message.KEEP_NULLS)


def _refuse_batch(headers: Headers) -> None:
    for name, told in headers:
        if name == BATCH_HEADER:
            raise UnreadableBatchError((told or b"").decode(errors="replace"))


def _filled_in(message_type: type[Message], envelope: Envelope, default_event_id: str) -> dict[str, Any]:
    """Return the fields, with those that say which event this is and when it was filled in."""
    fields, identifier, time = envelope.data, message_type.IDENTIFIER_FIELD, message_type.TIME_FIELD
    if fields.get(identifier) in (None, ""):
        fields[identifier] = envelope.event_id or default_event_id
    if time is not None and envelope.raw_time is not None and fields.get(time) is None:
        fields[time] = envelope.time
    return fields


def _invalid(message_type: type[Message], error: ValidationError) -> InvalidMessageError:
    found = error.errors(include_url=False, include_context=False)
    names = list(dict.fromkeys(".".join(map(str, each["loc"])) for each in found))
    faults = [_fault(each["loc"], each["type"], each["msg"], each["input"]) for each in found[:_SHOWN_ERRORS]]
    if len(found) > _SHOWN_ERRORS:
        faults.append(f"and {len(found) - _SHOWN_ERRORS} more")
    return InvalidMessageError(f"not a valid {message_type.__name__}: " + "; ".join(faults), fields=names)


def _fault(location: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    name = ".".join(map(str, location)) or "the message"
    if kind == "missing":
        return f"{name} is missing"
    said = _SHOULD.get(kind, message.removeprefix("Input "))
    return f"{name} {said}" if isinstance(value, dict) else f"{name} {said}, got {_shown(location, value)}"


def _shown(location: tuple[int | str, ...], value: object) -> str:
    """Show a value, cut; of pictures only its kind, because their addresses may carry credentials."""
    if isinstance(value, list):
        return "an array"
    if location[:1] == ("image",):
        return "a string" if isinstance(value, str) else "another value"
    cut = value[: _SHOWN_CHARACTERS + 1] if isinstance(value, str) else value
    text = json.dumps(cut, ensure_ascii=True, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
