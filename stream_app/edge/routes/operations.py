"""Health, metrics and the OpenAPI document."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import Response

from stream_app.edge.dependencies import EdgeOf

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> Response:
    """The loop that answers is alive; one that hangs does not answer."""
    return _health(healthy=True, detail={})


@router.get("/readyz")
async def readyz(edge: EdgeOf) -> Response:
    """200 while records are taken and results are followed, else 503."""
    report = edge.readiness()
    return _health(healthy=report.healthy, detail=dict(report.detail))


@router.get("/metrics")
async def metrics(request: Request, edge: EdgeOf) -> Response:
    """All metrics, as plain text or OpenMetrics."""
    content, content_type = edge.metrics.exposition(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": content_type})


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    content = json.dumps(request.app.openapi(), ensure_ascii=False)
    return Response(content, media_type="application/vnd.oai.openapi+json")


def _health(*, healthy: bool, detail: dict[str, object]) -> Response:
    content = json.dumps({"healthy": healthy, **detail})
    headers = {"Cache-Control": "no-store"}
    return Response(content + "\n", 200 if healthy else 503, headers=headers, media_type="application/json")
