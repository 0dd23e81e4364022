"""What happens to every request, whatever its route: an id, counts, limits, and an answer to every fault."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import ShelverError
from stream_app.edge.limits import Bodies, Places
from stream_app.edge.metrics import OTHER, EdgeMetrics
from stream_app.edge.problems import ProblemError, of_error, problem_response
from stream_app.edge.settings import is_loopback
from stream_app.edge.tracing import NO_REQUEST_SPANS, RequestTracing

__all__ = ["Browsers", "Limits", "Requests"]

logger = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-ID"
EVENT_STREAM: Final = "text/event-stream"
OPERATIONS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Health and metrics, asked every few seconds: answered in any case, and no part of a trace."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Requests:
    """The outermost layer: request ids, metrics, one log line for a fault, and no fault without an answer."""

    def __init__(self, app: ASGIApp, *, metrics: EdgeMetrics, tracing: RequestTracing) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        tracing = NO_REQUEST_SPANS if scope["path"] in OPERATIONS else self._tracing
        with tracing.request(scope) as trace:
            scope.setdefault("state", {}).update(request_id=request_id, trace=trace.headers)
            answer = _Answer(send, request_id)
            began = time.perf_counter()
            try:
                await self._answer(scope, receive, answer)
            finally:
                route = _template(scope)
                seconds = None if answer.is_stream else time.perf_counter() - began
                self._metrics.answered(route or OTHER, scope["method"], answer.status or 499, seconds)
                trace.answered(route, answer.status, has_failed=answer.has_failed)
                if answer.has_failed:
                    self._metrics.failed()

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        request_id = scope["state"]["request_id"]
        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            return  # nobody is there to be answered, and nothing is wrong here
        except Exception as error:
            if not isinstance(error, ShelverError) or answer.status:
                logger.exception("a request failed", extra={"request_id": request_id})
            if answer.status:
                answer.has_failed = True
                return
            problem = of_error(error) if isinstance(error, ShelverError) else _fault()
            await problem_response(problem, request_id)(scope, receive, answer)


class _Answer:
    """Adds the request id to an answer, and notes its status and whether it is a fault of ours."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0
        self.is_stream = False
        self.has_failed = False

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.has_failed = self.status == 500
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            self.is_stream = headers.get("content-type", "").startswith(EVENT_STREAM)
        await self._send(message)


class Browsers:
    """Turns away what a page of somebody else makes a browser on this machine ask.

    Without keys whoever reaches the gateway may do everything, and a browser on this machine reaches it. So a
    host name that is not this machine's own (DNS rebinding) is refused, and so is a request that changes
    something and comes from another origin than those that are allowed.

    Args:
        app: what is asked otherwise.
        has_keys: whether a request needs a key, which a page of somebody else does not have.
        allowed_origins: of pages that may ask.
    """

    def __init__(self, app: ASGIApp, *, has_keys: bool, allowed_origins: Sequence[str]) -> None:
        self._app = app
        self._has_keys = has_keys
        self._allowed_origins = frozenset(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and not self._has_keys:
            self._check(scope["method"], Headers(scope=scope))
        await self._app(scope, receive, send)

    def _check(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not is_loopback(_host(host)):
            raise ProblemError(
                421, "misdirected", "without API keys the gateway is asked by 127.0.0.1 or localhost"
            )
        origin = headers.get("origin")
        if origin is None or method in _SAFE_METHODS:
            return
        if origin.lower() not in self._allowed_origins and urlsplit(origin).netloc != host:
            raise ProblemError(403, "forbidden", "pages of other origins may not change anything here")


class Limits:
    """Requests at once, and bytes of their bodies, counted as they stream in; not those of `OPERATIONS`."""

    def __init__(self, app: ASGIApp, *, places: Places, bodies: Bodies) -> None:
        self._app = app
        self._places = places
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] in OPERATIONS:
            await self._app(scope, receive, send)
            return
        with self._places.place(), self._bodies.meter() as meter:
            declared = Headers(scope=scope).get("content-length", "")
            if declared.isascii() and declared.isdigit():
                self._bodies.check(int(declared[:20]))

            async def counted() -> Message:
                message = await receive()
                if message["type"] == "http.request":
                    meter.add(len(message.get("body", b"")))
                return message

            await self._app(scope, counted, send)


def _request_id(headers: Headers) -> str:
    """What the client calls the request, if it is fit for a log, else an id of ours."""
    told = headers.get(REQUEST_ID, "")
    return told if _REQUEST_ID.fullmatch(told) else str(uuid4())


def _fault() -> ProblemError:
    return ProblemError(500, "internal", "a fault of the gateway; its log tells more under this request id")


def _template(scope: Scope) -> str | None:
    """The template of the route that was taken; None for a path that is none."""
    route: Any = scope.get("route")
    return getattr(route, "path", None)


def _host(header: str) -> str:
    """The host of a `Host` header, without its port; brackets of IPv6 stay."""
    return header.partition("]")[0] if header.startswith("[") else header.partition(":")[0]
