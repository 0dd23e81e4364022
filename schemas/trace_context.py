"""W3C Trace Context in the headers of a record: which trace an event belongs to.

Read are `traceparent` and `tracestate`, by any spelling of their names. Anybody may have written them, so
what is not exactly as the recommendation says counts as absent. Of a header given twice the last one that
is valid counts. A later version of `traceparent` is read as far as version 00 goes, and written as that, as
the recommendation asks of those that know no later one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from schemas.cloudevents import Headers

__all__ = ["TraceContext", "read_trace_context", "trace_headers"]

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.DOTALL,
)
_STATE_MEMBER: Final = re.compile(
    rb"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MAX_STATE_BYTES: Final = 512
_MAX_STATE_MEMBERS: Final = 32
_NAME_LENGTHS: Final = frozenset(map(len, ("traceparent", "tracestate")))
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where an event stands in its trace.

    Attributes:
        trace_id: 32 hexadecimal digits, not all zero.
        span_id: Of the span that sent it, 16 hexadecimal digits, not all zero.
        flags: 2 hexadecimal digits.
        state: The `tracestate`, or empty.
    """

    trace_id: str
    span_id: str
    flags: str
    state: str = ""

    def as_headers(self) -> list[tuple[str, bytes]]:
        """Return the headers that say so."""
        headers = [("traceparent", f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode())]
        if self.state:
            headers.append(("tracestate", self.state.encode()))
        return headers


def read_trace_context(headers: Headers) -> TraceContext | None:
    """Return what the headers of a record say, or `None` when they do not say it right."""
    found, state = None, b""
    for name, value in headers:
        if value is None or len(name) not in _NAME_LENGTHS:
            continue
        kind = name.lower()
        if kind == "traceparent":
            found = _valid_parent(value) or found
        elif kind == "tracestate" and _is_valid_state(value):
            state = value
    if found is None:
        return None
    flags = found["flags"] if found["version"] == b"00" else b"%02x" % (int(found["flags"], 16) & _SAMPLED)
    return TraceContext(found["trace"].decode(), found["span"].decode(), flags.decode(), state.decode())


def trace_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """Return the headers with which the trace of a record goes on in what it causes."""
    context = read_trace_context(headers) if headers else None
    return [] if context is None else context.as_headers()


def _valid_parent(value: bytes) -> re.Match[bytes] | None:
    found = _TRACEPARENT.fullmatch(value)
    return None if found is None or (found["version"] == b"00" and found["more"]) else found


def _is_valid_state(value: bytes) -> bool:
    if len(value) > _MAX_STATE_BYTES:
        return False
    members = [member.strip(b" \t") for member in value.split(b",")]
    return len(members) <= _MAX_STATE_MEMBERS and all(
        not member or _STATE_MEMBER.fullmatch(member) for member in members
    )
