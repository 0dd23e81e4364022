"""The trace of a request goes on in the records that it causes; where it is asked for the request is a span.

Without `SHELVER_TRACES_ENDPOINT` records carry the context that the client sent, and nothing of OpenTelemetry
is imported. With it (the extra `tracing`) each request is a span `METHOD ROUTE` in the trace of its client,
or in a new one, and records carry its context: what a worker sends on is a child of it. Names and attributes
are those of OpenTelemetry's conventions for HTTP. Health and metrics have no spans.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING, Final

from starlette.types import Scope

from schemas.trace_context import read_trace_context, trace_headers
from stream_app.edge.metrics import METHODS
from stream_app.tracing import TracingSettings, as_headers, as_parent, span_provider, stop_spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

__all__ = ["NO_REQUEST_SPANS", "RequestTrace", "RequestTracing", "build_request_tracing"]


class RequestTrace:
    """Where a request stands in its trace.

    Args:
        headers: with which a record takes on the trace of the request that caused it.
    """

    def __init__(self, headers: Sequence[tuple[str, bytes]]) -> None:
        self.headers = headers

    def answered(self, route: str | None, status: int, *, has_failed: bool) -> None:
        """Note how it was answered.

        Args:
            route: its template; None for a path that is no route.
            status: of HTTP; 0 where there was no answer.
            has_failed: whether the answer is a fault, or broke off.
        """


class RequestTracing:
    """Records no spans; the trace of a client goes on in the records that it causes."""

    @contextmanager
    def request(self, scope: Scope) -> Iterator[RequestTrace]:
        """What a request is answered in."""
        yield RequestTrace(trace_headers(_headers(scope)))

    async def stop(self) -> None:
        """Send what is recorded."""


NO_REQUEST_SPANS: Final = RequestTracing()


def build_request_tracing(settings: TracingSettings) -> RequestTracing:
    """What the settings ask for.

    Raises:
        SettingsError: spans are asked for, and OpenTelemetry is not installed.
    """
    if settings.traces_endpoint is None:
        return NO_REQUEST_SPANS
    return _RequestSpans(span_provider(settings.traces_endpoint, "shelver-gateway"))


class _RequestSpans(RequestTracing):
    """Records spans with OpenTelemetry, which is imported only here."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("shelver", distribution_version("shelver"))

    @contextmanager
    def request(self, scope: Scope) -> Iterator[RequestTrace]:
        """A span that is a child of the client's."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        told = _headers(scope)
        client = read_trace_context(told)
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"], "url.path": scope["path"]}
        name = method.replace("_OTHER", "HTTP")
        parent = as_parent(client) if client else Context()
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        context = span.get_span_context()
        try:
            yield _RequestSpan(span, name, as_headers(context) if context.is_valid else trace_headers(told))
        finally:
            span.end()

    async def stop(self) -> None:
        """Send what is recorded."""
        await stop_spans(self._provider)


class _RequestSpan(RequestTrace):
    def __init__(self, span: Span, name: str, headers: Sequence[tuple[str, bytes]]) -> None:
        super().__init__(headers)
        self._span = span
        self._name = name

    def answered(self, route: str | None, status: int, *, has_failed: bool) -> None:
        from opentelemetry.trace import StatusCode

        if route is not None:
            self._span.update_name(f"{self._name} {route}")
            self._span.set_attribute("http.route", route)
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if has_failed or status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)


def _headers(scope: Scope) -> list[tuple[str, bytes]]:
    return [(name.decode("latin-1"), value) for name, value in scope["headers"]]
