"""An application without brokers, asked without a socket."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from stream_app.edge.app import create_app
from stream_app.edge.edge import Edge
from stream_app.settings import load_edge_settings

KEYS = {role: f"the-key-to-{role}" for role in ("submit", "read", "train")}
HERE = "http://127.0.0.1:8000"


def settings_with_keys() -> dict[str, Any]:
    return {
        "gateway_api_keys": [
            {"name": role, "sha256": hashlib.sha256(key.encode()).hexdigest(), "roles": [role]}
            for role, key in KEYS.items()
        ]
    }


def application(**settings: Any) -> FastAPI:
    return create_app(Edge(load_edge_settings({}, **settings)))


@asynccontextmanager
async def asked(app: FastAPI, *, key: str | None = None, url: str = HERE) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers) as client:
        yield client


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and kind of a problem, which is told in full."""
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["status"] == answer.status_code
    assert told["title"]
    assert told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, told["type"].removeprefix("urn:shelver:problem:")
