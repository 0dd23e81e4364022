"""From records of the result topics to results: whom a record answers, and what it says (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from schemas.assignments import CategoryAssigned
from schemas.base import Identifier
from schemas.cloudevents import open_envelope
from schemas.codec import decode
from schemas.dead_letters import Failure, Headers, read_failure
from schemas.errors import MessageError
from schemas.explanations import CategoryExplained
from schemas.json_objects import parse_object
from stream_app.batching import Record
from stream_app.edge.results import Kind, Result, Subject
from stream_app.places import read_place
from stream_app.topics import TopicSettings

__all__ = ["Arrival", "read_arrival"]

_UNKNOWN: Final = "unknown"
_IDENTIFIER: Final[TypeAdapter[str]] = TypeAdapter(Identifier)
_IDENTIFIERS: Final = {Kind.LISTING: "event_id", Kind.QUESTION: "request_id"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record of a result topic, read.

    Attributes:
        subject: whom it answers; None for a dead letter of something else, such as a correction.
        result: what became of it.
        message: the message in it; None for a dead letter.
    """

    subject: Subject | None
    result: Result
    message: CategoryAssigned | CategoryExplained | None


def read_arrival(record: Record, topics: TopicSettings) -> Arrival | None:
    """What a record says; None where it is not one of ours, or says nothing."""
    if record.value is None:
        return None
    key = (record.key or b"").decode(errors="replace")
    if record.topic == topics.dead_letter_topic:
        failure = read_failure(record.headers)
        if failure is None:
            return None
        subject = _failed(record.value, record.headers, failure, topics)
        return Arrival(subject, Result(key, failure, record.timestamp), None)
    try:
        if record.topic == topics.category_assigned_topic:
            assigned = decode(CategoryAssigned, record.value, record.headers, default_event_id=_UNKNOWN)
            listing = Subject(Kind.LISTING, assigned.event_id)
            return Arrival(listing, Result(assigned.product_id, record.value, record.timestamp), assigned)
        explained = decode(CategoryExplained, record.value, record.headers, default_event_id=_UNKNOWN)
    except MessageError:
        return None
    question = Subject(Kind.QUESTION, explained.request_id)
    return Arrival(question, Result(explained.product_id, record.value, record.timestamp), explained)


def _failed(value: bytes, headers: Headers, failure: Failure, topics: TopicSettings) -> Subject | None:
    """Whom a dead letter answers: identified as the worker identified it, when it could read it."""
    place = read_place(failure.source)
    kinds = {topics.product_listed_topic: Kind.LISTING, topics.explanation_requested_topic: Kind.QUESTION}
    kind = kinds.get(place[0]) if place else None
    if kind is None:
        return None
    try:
        envelope = open_envelope(parse_object(value), headers)
        own = envelope.data.get(_IDENTIFIERS[kind])
        identifier = envelope.event_id if own in (None, "") else _IDENTIFIER.validate_python(own)
    except (MessageError, ValidationError):
        # Cut, or never readable; who sent it may have named it in a header.
        identifier = _header_id(headers)
    return Subject(kind, identifier or failure.source)


def _header_id(headers: Headers) -> str | None:
    found = [value for name, value in headers if name.lower() in ("ce_id", "ce-id") and value]
    return found[-1].decode(errors="replace") if found else None
