"""The bytes and headers of a record to messages and back: one decoder for Kafka, HTTP and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from schemas.base import Message

__all__ = ["DEFAULT_MAX_MESSAGE_BYTES", "Headers", "decode", "encode"]

Headers = Sequence[tuple[str, bytes | None]]
M = TypeVar("M", bound=Message)

DEFAULT_MAX_MESSAGE_BYTES: Final = 10 * 1024 * 1024


def decode(
    message_type: type[M],
    value: bytes,
    headers: Headers = (),
    *,
    default_event_id: str,
    max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> M:
    """Return the message in a record's value and headers."""
    raise NotImplementedError


def encode(message: Message) -> bytes:
    """Return the JSON of a message, UTF-8 without spaces."""
    raise NotImplementedError
