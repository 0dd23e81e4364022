"""`/v1/live`: what streams through now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from stream_app.edge.dependencies import EdgeOf, Reader
from stream_app.edge.documents import EVENT_STREAM, failures
from stream_app.edge.edge import Edge
from stream_app.edge.live import LiveAnswer
from stream_app.edge.sse import HEARTBEAT, HEARTBEAT_SECONDS, event, event_stream

__all__ = ["router"]

router = APIRouter(prefix="/v1/live", tags=["live"])

TICK_SECONDS: Final = 0.5
MOST_AT_A_TICK: Final = 50

Since = Annotated[int, Query(ge=0, description="A `sequence`: only what came after it is listed.")]
Most = Annotated[int, Query(ge=1, le=200, description="Most of each kind that are listed.")]


@router.get(
    "",
    summary="The latest categories and dead letters, counts and rates",
    response_model=LiveAnswer,
    responses=failures(401, 403, 422, 429),
)
async def get_live(edge: EdgeOf, _client: Reader, since: Since = 0, most: Most = 50) -> LiveAnswer:
    """What came to this gateway from the topics of results, whoever sent it."""
    return edge.live.answer(since=since, most=most)


@router.get(
    "/events",
    summary="The same, as it happens",
    response_class=Response,
    responses=EVENT_STREAM | failures(401, 403, 422, 429),
)
async def stream_live(edge: EdgeOf, _client: Reader, since: Since = 0) -> Response:
    """Server-sent events `live`, twice a second at most, each as `GET /v1/live` answers since the one before.

    What is more than 50 of a kind between two is left out, and counted. The stream ends with the gateway.
    """
    return event_stream(_events(edge, since))


async def _events(edge: Edge, since: int) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    told_at = -HEARTBEAT_SECONDS
    while not edge.stopping.is_set():
        if edge.live.sequence != since or told_at < 0:
            answer = edge.live.answer(since=since, most=MOST_AT_A_TICK)
            since, told_at = answer.sequence, clock()
            yield event("live", answer.model_dump_json(), str(answer.sequence))
        elif clock() - told_at > HEARTBEAT_SECONDS:
            told_at = clock()
            yield HEARTBEAT
        await asyncio.sleep(TICK_SECONDS)
