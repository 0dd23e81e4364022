"""Dead letters: where an event failed, why, and the record that keeps it.

A dead letter is the record as received (key, value and headers untouched) with headers of ours after its own:

| header | value |
| --- | --- |
| `shelver.stage` | where it failed, one of `Stage` |
| `shelver.reason` | why, one of `Reason` |
| `shelver.message` | one line for a person, at most 500 characters |
| `shelver.source` | `topic-partition-offset` of the record |
| `shelver.attempts` | how often it was tried, from 1 |
| `shelver.original-size` | only when the value had to be cut: its true size in bytes |
| `shelver.original-sha256` | only when the value had to be cut: SHA-256 of all of it, in hexadecimal |
| `shelver.original-headers` | only when headers had to be left out too: how many there were |
| `shelver.original-key-size` | only when the key had to be cut as well: its true size in bytes |

A record with `shelver.batch` stands for a whole batch that cannot be read; its value is the batch as stored.
A record that failed before carries these headers already; the last of each name counts. Room is made in that
order, value, headers, key, because a record that cannot be written as a dead letter would stop its partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "ATTEMPTS_HEADER",
    "BATCH_HEADER",
    "HEADER_PREFIX",
    "MESSAGE_HEADER",
    "ORIGINAL_HEADERS_HEADER",
    "ORIGINAL_KEY_SIZE_HEADER",
    "ORIGINAL_SHA256_HEADER",
    "ORIGINAL_SIZE_HEADER",
    "REASON_HEADER",
    "SOURCE_HEADER",
    "STAGE_HEADER",
    "DeadLetter",
    "Failure",
    "Reason",
    "Stage",
    "attempts_told",
    "build_dead_letter",
    "dead_letter_headers",
    "original_headers",
    "read_failure",
    "replay_headers",
]

HEADER_PREFIX: Final = "shelver."
STAGE_HEADER: Final = "shelver.stage"
REASON_HEADER: Final = "shelver.reason"
MESSAGE_HEADER: Final = "shelver.message"
SOURCE_HEADER: Final = "shelver.source"
ATTEMPTS_HEADER: Final = "shelver.attempts"
ORIGINAL_SIZE_HEADER: Final = "shelver.original-size"
ORIGINAL_SHA256_HEADER: Final = "shelver.original-sha256"
ORIGINAL_HEADERS_HEADER: Final = "shelver.original-headers"
ORIGINAL_KEY_SIZE_HEADER: Final = "shelver.original-key-size"
BATCH_HEADER: Final = "shelver.batch"

MAX_MESSAGE_CHARACTERS: Final = 500
CUT_BYTES: Final = 1024
"""What is kept of a value or key too large to copy: enough to see what it was."""

RECORD_OVERHEAD_BYTES: Final = 128
HEADER_OVERHEAD_BYTES: Final = 10
"""Batch header, lengths and checksum around a record and a header (KIP-98), rounded up."""

OWN_HEADERS: Final = frozenset(
    {
        STAGE_HEADER,
        REASON_HEADER,
        MESSAGE_HEADER,
        SOURCE_HEADER,
        ATTEMPTS_HEADER,
        ORIGINAL_SIZE_HEADER,
        ORIGINAL_SHA256_HEADER,
        ORIGINAL_HEADERS_HEADER,
        ORIGINAL_KEY_SIZE_HEADER,
    }
)
"""The headers of a dead letter; other `shelver.*` headers belong to the record."""

Headers = Sequence[tuple[str, bytes | None]]


class Stage(StrEnum):
    """Where on its way an event failed."""

    DECODE = "decode"
    VALIDATE = "validate"
    PREPARE = "prepare"
    INFERENCE = "inference"
    PUBLISH = "publish"


class Reason(StrEnum):
    """Why an event could not be served; a small fixed set, fit for metric labels."""

    MALFORMED = "malformed"
    SCHEMA_REGISTRY_FRAMING = "schema_registry_framing"
    TOO_LARGE = "too_large"
    UNREADABLE_BATCH = "unreadable_batch"
    INVALID = "invalid"
    EMPTY_LISTING = "empty_listing"
    PREPARATION_ERROR = "preparation_error"
    NON_FINITE_SCORES = "non_finite_scores"
    MODEL_ERROR = "model_error"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_CATEGORY = "unknown_category"
    OUTPUT_TOO_LARGE = "output_too_large"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one record.

    Attributes:
        stage: Where.
        reason: Why.
        message: One line for a person.
        source: `topic-partition-offset` of the record.
        attempts: How often it was tried, at least 1.
    """

    stage: Stage
    reason: Reason
    message: str
    source: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record for the dead letter topic.

    Attributes:
        key: The key as received.
        value: The value as received, or its first bytes when it was too large to copy.
        headers: The headers as received, then ours.
    """

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def dead_letter_headers(failure: Failure) -> list[tuple[str, bytes]]:
    """Return the five headers every dead letter carries, in the order of the table above."""
    return [
        (STAGE_HEADER, failure.stage.encode()),
        (REASON_HEADER, failure.reason.encode()),
        (MESSAGE_HEADER, _one_line(failure.message).encode(errors="replace")),
        (SOURCE_HEADER, failure.source.encode(errors="replace")),
        (ATTEMPTS_HEADER, str(failure.attempts).encode()),
    ]


def build_dead_letter(
    key: bytes | None, value: bytes | None, headers: Headers, failure: Failure, *, max_bytes: int
) -> DeadLetter:
    """Return the dead letter of a record, in at most `max_bytes` (when that is at least 4,096).

    Args:
        key: The key as received.
        value: The value as received.
        headers: The headers as received; `None` values, repeated names and any bytes are kept.
        failure: What went wrong.
        max_bytes: The largest record the dead letter topic takes, with key and headers.
    """
    ours: list[tuple[str, bytes | None]] = [*dead_letter_headers(failure)]
    if _record_bytes(key, value, [*headers, *ours]) <= max_bytes:
        return DeadLetter(key, value, (*headers, *ours))
    if value is not None and len(value) > CUT_BYTES:
        ours.append((ORIGINAL_SIZE_HEADER, str(len(value)).encode()))
        ours.append((ORIGINAL_SHA256_HEADER, hashlib.sha256(value).hexdigest().encode()))
        value = value[:CUT_BYTES]
    if _record_bytes(key, value, [*headers, *ours]) <= max_bytes:
        return DeadLetter(key, value, (*headers, *ours))
    ours.append((ORIGINAL_HEADERS_HEADER, str(len(headers)).encode()))
    if key is not None and len(key) > CUT_BYTES and _record_bytes(key, value, ours) > max_bytes:
        ours.append((ORIGINAL_KEY_SIZE_HEADER, str(len(key)).encode()))
        key = key[:CUT_BYTES]
    return DeadLetter(key, value, tuple(ours))


def read_failure(headers: Headers) -> Failure | None:
    """Return the failure a record's headers tell of, or `None` when they don't make a dead letter.

    Stage and reason have to be known; the other headers may be missing or damaged.
    """
    last = {name: value or b"" for name, value in headers if name.startswith(HEADER_PREFIX)}
    text = {name: value.decode(errors="replace") for name, value in last.items()}
    try:
        stage, reason = Stage(text.get(STAGE_HEADER, "")), Reason(text.get(REASON_HEADER, ""))
    except ValueError:
        return None
    return Failure(
        stage=stage,
        reason=reason,
        message=text.get(MESSAGE_HEADER, ""),
        source=text.get(SOURCE_HEADER, ""),
        attempts=attempts_told(headers) or 1,
    )


def original_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers the record had before it became a dead letter."""
    return [(name, value) for name, value in headers if name not in OWN_HEADERS]


def attempts_told(headers: Headers) -> int:
    """Return how often a record says that it was tried; 0 when it does not say."""
    told = (dict(headers).get(ATTEMPTS_HEADER) or b"").decode(errors="replace")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0


def replay_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers a dead letter is sent back with: its own, first place and attempts."""
    told = dict(headers)
    return [
        *original_headers(headers),
        (SOURCE_HEADER, told.get(SOURCE_HEADER)),
        (ATTEMPTS_HEADER, str(attempts_told(headers) or 1).encode()),
    ]


def _one_line(message: str) -> str:
    visible = "".join(c if c.isprintable() else " " for c in message[: 2 * MAX_MESSAGE_CHARACTERS])
    line = " ".join(visible.split())
    return line if len(line) <= MAX_MESSAGE_CHARACTERS else line[: MAX_MESSAGE_CHARACTERS - 1] + "…"


def _record_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    framed = sum(
        len(name.encode(errors="replace")) + len(content or b"") + HEADER_OVERHEAD_BYTES
        for name, content in headers
    )
    return RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"") + framed
