"""Server-sent events: the wire format, and an answer that streams it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import StreamingResponse

__all__ = ["HEARTBEAT", "HEARTBEAT_SECONDS", "event", "event_stream"]

HEARTBEAT: Final = b": still here\n\n"
"""A comment: it keeps proxies from closing a stream, and tells us when nobody listens any more."""
HEARTBEAT_SECONDS: Final = 10.0


def event(name: str, data: str, identifier: str | None = None) -> bytes:
    """One event.

    Args:
        name: of its kind, one word.
        data: JSON, which has no line feeds when it is written without indentation.
        identifier: that a client sends back as `Last-Event-ID` when it connects anew.
    """
    named = f"id: {identifier}\n" if identifier is not None else ""
    return f"{named}event: {name}\ndata: {data}\n\n".encode()


def event_stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    """The answer that sends events as they come."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, headers=headers, media_type="text/event-stream")
