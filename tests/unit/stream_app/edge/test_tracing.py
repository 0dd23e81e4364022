"""Spans of requests, and the trace of a client in the headers of the records that a request causes."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.responses import StreamingResponse

from schemas.trace_context import read_trace_context
from stream_app.edge.dependencies import trace_of
from stream_app.edge.tracing import NO_REQUEST_SPANS, build_request_tracing
from stream_app.errors import SettingsError
from stream_app.tracing import TracingSettings
from tests.trace_collector import attributes, collecting
from tests.unit.stream_app.edge.applications import KEYS, application, asked, settings_with_keys

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "shop=1"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-00"}


def telling(**settings: object) -> FastAPI:
    """An application that tells the trace headers of a record, fails, and breaks off."""
    app = application(**settings)

    @app.get("/trace/{name}")
    async def trace(request: Request) -> dict[str, str]:
        return {name: value.decode() for name, value in trace_of(request)}

    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("broken")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("broken")

        return StreamingResponse(pieces())

    return app


async def told(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = (await client.get("/trace/one", headers=headers)).json()
    return found


def ids(headers: dict[str, str]) -> tuple[str, str, str]:
    context = read_trace_context([(name, value.encode()) for name, value in headers.items()])
    assert context is not None
    return context.trace_id, context.span_id, context.flags


async def test_without_an_endpoint_records_carry_what_the_client_sent() -> None:
    app = telling()
    assert app.state.edge.tracing is NO_REQUEST_SPANS
    async with asked(app) as client:
        assert await told(client, TRACED) == TRACED
        assert await told(client, {}) == {}
        assert await told(client, {"traceparent": "nonsense", "tracestate": "shop=1"}) == {}
    await app.state.edge.tracing.stop()


async def test_a_request_is_a_span_whose_context_its_records_carry() -> None:
    with collecting() as collector:
        app = telling(traces_endpoint=collector.endpoint)
        async with asked(app) as client:
            traced, untraced = await told(client, TRACED), await told(client, {})
            unsampled = await told(client, UNSAMPLED)
        await app.state.edge.tracing.stop()
    ours = {span.span_id.hex(): span for span in collector.named("GET /trace/{name}")}
    assert len(ours) == len(collector.spans) == 2
    span = ours[ids(traced)[1]]
    assert span.kind == Span.SPAN_KIND_SERVER
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes(span) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/trace/one",
        "http.route": "/trace/{name}",
        "http.response.status_code": 200,
    }
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert (ids(traced)[0], ids(traced)[2], traced["tracestate"]) == (TRACE, "01", "shop=1")
    root = ours[ids(untraced)[1]]
    assert (root.trace_id.hex(), root.parent_span_id) == (ids(untraced)[0], b"")
    assert (ids(unsampled)[0], ids(unsampled)[2]) == (TRACE, "00")
    assert collector.resource["service.name"] == "shelver-gateway"


async def test_faults_are_errors_and_what_a_client_does_wrong_is_none() -> None:
    with collecting() as collector:
        app = telling(traces_endpoint=collector.endpoint)
        async with asked(app) as client:
            await client.get("/fault")
            with pytest.raises(AssertionError):  # of httpx, about an answer that is not whole
                await client.get("/half")
            await client.get("/nowhere")
            await client.request("SPELL", "/nowhere")
            metrics = (await client.get("/metrics")).text
        await app.state.edge.tracing.stop()
    found = {
        span.name: (attributes(span).get("http.response.status_code"), span.status.code)
        for span in collector.spans
    }
    assert found == {
        "GET /fault": (500, Status.STATUS_CODE_ERROR),
        "GET /half": (200, Status.STATUS_CODE_ERROR),
        "GET": (404, Status.STATUS_CODE_UNSET),
        "HTTP": (404, Status.STATUS_CODE_UNSET),
    }
    assert "shelver_gateway_faults_total 2.0" in metrics


async def test_health_and_metrics_have_no_spans_and_no_key_is_in_any() -> None:
    with collecting() as collector:
        app = telling(traces_endpoint=collector.endpoint, **settings_with_keys())
        async with asked(app, key=KEYS["read"]) as client:
            for path in ("/healthz", "/readyz", "/metrics", "/v1/live?most=1"):
                await client.get(path, headers=TRACED)
        await app.state.edge.tracing.stop()
    (span,) = collector.spans
    assert span.name == "GET /v1/live"
    assert KEYS["read"] not in str(span)


async def test_requests_at_once_do_not_mix() -> None:
    with collecting() as collector:
        app = telling(traces_endpoint=collector.endpoint)
        async with asked(app) as client:
            parents = [f"{number:032x}" for number in range(1, 21)]
            headers = [{"traceparent": f"00-{trace}-{SPAN}-01"} for trace in parents]
            found = await asyncio.gather(*(told(client, each) for each in headers))
        await app.state.edge.tracing.stop()
    assert [ids(each)[0] for each in found] == parents


async def test_a_disabled_opentelemetry_leaves_traces_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    app = telling(traces_endpoint="http://127.0.0.1:9/v1/traces")
    async with asked(app) as client:
        assert await told(client, TRACED) == TRACED
        assert await told(client, {}) == {}
    await app.state.edge.tracing.stop()


def test_without_an_endpoint_opentelemetry_is_not_imported() -> None:
    code = (
        "import sys; from stream_app.edge.edge import Edge; "
        "from stream_app.settings import load_edge_settings; "
        "Edge(load_edge_settings({})); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_endpoint_without_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"SHELVER_TRACES_ENDPOINT .* pip install 'shelver\[tracing\]'"):
        build_request_tracing(TracingSettings(traces_endpoint="http://127.0.0.1:4318/v1/traces"))
