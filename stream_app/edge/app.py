"""The application: wires routes, middleware and errors to one gateway, and decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.errors import ShelverError
from stream_app.edge.bodies import field_problem
from stream_app.edge.documents import describe
from stream_app.edge.edge import Edge
from stream_app.edge.middleware import Browsers, Limits, Requests
from stream_app.edge.problems import ProblemError, of_error, problem_response
from stream_app.edge.routes import (
    corrections,
    explanations,
    limits,
    live,
    models,
    operations,
    original,
    products,
    shop_pages,
    training_runs,
)

__all__ = ["create_app"]

ROUTERS = (
    products.router,
    shop_pages.router,
    explanations.router,
    corrections.router,
    models.router,
    live.router,
    training_runs.router,
    original.router,
    limits.router,
    operations.router,
)
_KINDS = {404: "not-found", 405: "method-not-allowed"}


def create_app(edge: Edge) -> FastAPI:
    """The application of a gateway; its lifespan connects the gateway and disconnects it."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with edge.running():
            yield

    # Pages of documentation would load scripts from elsewhere; the document itself is at /openapi.json.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.edge = edge
    for router in ROUTERS:
        app.include_router(router)
    _handle_errors(app)
    _add_middleware(app, edge)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(describe(app, edge.settings))
        return document

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI says to extend it
    return app


def _add_middleware(app: FastAPI, edge: Edge) -> None:
    """The last one is the outermost."""
    settings = edge.settings
    app.add_middleware(Limits, places=edge.places, bodies=edge.bodies)
    if settings.gateway_allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.gateway_allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "X-Request-ID",
                "traceparent",
                "tracestate",
            ],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(
        Browsers, has_keys=edge.keys.are_needed, allowed_origins=settings.gateway_allowed_origins
    )
    app.add_middleware(Requests, metrics=edge.metrics, tracing=edge.tracing)


def _handle_errors(app: FastAPI) -> None:
    async def shelver_error(request: Request, error: Exception) -> Response:
        if not isinstance(error, ShelverError):
            raise error
        return _told(request, of_error(error))

    async def validation_error(request: Request, error: Exception) -> Response:
        return _told(
            request, field_problem(error.errors() if isinstance(error, RequestValidationError) else ())
        )

    async def http_error(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        kind = _KINDS.get(error.status_code, "malformed")
        return _told(request, ProblemError(error.status_code, kind, str(error.detail), headers=error.headers))

    app.add_exception_handler(ShelverError, shelver_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(HTTPException, http_error)


def _told(request: Request, problem: ProblemError) -> Response:
    return problem_response(problem, getattr(request.state, "request_id", None))
