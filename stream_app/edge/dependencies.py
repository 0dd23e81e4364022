"""What routes ask of a request: the gateway, who asks and may they, ids and the trace it belongs to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from uuid import uuid4

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer

from schemas.base import derived_id
from stream_app.edge.edge import Edge
from stream_app.edge.keys import Client
from stream_app.edge.problems import ProblemError
from stream_app.edge.settings import Role

__all__ = [
    "Asker",
    "EdgeOf",
    "Reader",
    "Submitter",
    "Trainer",
    "Wait",
    "new_id",
    "seconds_to_wait",
    "trace_of",
]

IDEMPOTENCY_KEY: Final = "Idempotency-Key"

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_BEARER: Final = HTTPBearer(
    auto_error=False, description="An API key; none is needed where the gateway has none."
)


async def _edge(request: Request) -> Edge:
    edge: Edge = request.app.state.edge
    return edge


def _client(*roles: Role) -> Callable[..., Awaitable[Client]]:
    """A dependency: who asks, with one of these roles, within their rate."""

    async def authenticated(
        request: Request, _shown_in_openapi: Annotated[object, Security(_BEARER)]
    ) -> Client:
        edge = await _edge(request)
        client = edge.keys.client(request.headers.get("authorization"))
        edge.rates.take(client.name)
        client.check(*roles)
        return client

    return authenticated


EdgeOf = Annotated[Edge, Depends(_edge)]
Submitter = Annotated[Client, Depends(_client(Role.SUBMIT))]
Asker = Annotated[Client, Depends(_client(Role.SUBMIT, Role.READ))]
Reader = Annotated[Client, Depends(_client(Role.READ))]
Trainer = Annotated[Client, Depends(_client(Role.TRAIN))]

Wait = Annotated[
    float | None,
    Query(ge=0, description="Seconds to wait for what is not there yet; cut to what the gateway allows."),
]


def seconds_to_wait(edge: Edge, wait: float | None, *, default: float) -> float:
    """How long a request waits: as long as it asks, within what is allowed."""
    return min(default if wait is None else wait, edge.settings.gateway_max_wait_seconds)


def new_id(request: Request, client: Client, number: int = 0) -> str:
    """An id for what a client sends without one: the same for the same `Idempotency-Key` of the same client.

    Args:
        request: that carries it.
        client: whose key it came with; two clients never share an id.
        number: of the product in its list.

    Raises:
        ProblemError: the header is not 1 to 255 visible ASCII characters.
    """
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        return str(uuid4())
    if not _KEY.fullmatch(key):
        raise ProblemError(400, "malformed", f"{IDEMPOTENCY_KEY} should be 1 to 255 visible ASCII characters")
    return derived_id("gateway", client.name, key, str(number))


def trace_of(request: Request) -> list[tuple[str, bytes]]:
    """The trace context of a request, as headers of the records that it causes."""
    return list(request.state.trace)
