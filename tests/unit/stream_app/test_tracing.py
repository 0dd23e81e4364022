"""Spans of batches, and how the trace of an event goes on in what it causes."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from schemas.trace_context import TraceContext, read_trace_context
from stream_app import tracing
from stream_app.errors import FatalError, SettingsError
from stream_app.tracing import NO_SPANS, Tracing, TracingSettings, build_tracing
from tests.trace_collector import attributes, collecting
from tests.unit.stream_app.records import PlainRecord

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = PlainRecord(
    partition=2,
    offset=7,
    headers=[("traceparent", f"00-{TRACE}-{SPAN}-01".encode()), ("tracestate", b"shop=1")],
)
UNSAMPLED = PlainRecord(headers=[("traceparent", f"00-{TRACE}-{SPAN}-00".encode())])
PLAIN = PlainRecord(headers=[("ce_id", b"e-1")])


def spans_to(endpoint: str, *, max_batch: int = 64) -> Tracing:
    return build_tracing(TracingSettings(traces_endpoint=endpoint), group="shelver", max_batch=max_batch)


def context_of(headers: list[tuple[str, bytes]]) -> TraceContext:
    context = read_trace_context(headers)
    assert context is not None
    return context


def ids(headers: list[tuple[str, bytes]]) -> tuple[str, str]:
    return context_of(headers).trace_id, context_of(headers).span_id


def is_sampled(headers: list[tuple[str, bytes]]) -> bool:
    return bool(int(context_of(headers).flags, 16) & 1)


def link_ids(span: Span) -> list[tuple[str, str]]:
    return [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]


async def test_a_batch_is_a_span_with_links_stages_and_what_it_sends() -> None:
    with collecting() as collector, ThreadPoolExecutor(1) as thread:
        spans = spans_to(collector.endpoint)
        with spans.batch("product-listed", [TRACED, PLAIN, UNSAMPLED]):
            with spans.stage("decode"):
                pass
            await asyncio.get_running_loop().run_in_executor(thread, copy_context().run, in_a_stage, spans)
            sent = spans.headers(TRACED, "category-assigned")
            untraced = spans.headers(PLAIN, "category-assigned")
            unsampled = spans.headers(UNSAMPLED, "category-assigned")
        await spans.stop()
    batch = collector.one("process product-listed")
    assert batch.kind == Span.SPAN_KIND_CONSUMER
    assert not batch.parent_span_id
    assert link_ids(batch) == [(TRACE, SPAN), (TRACE, SPAN)]
    assert attributes(batch.links[0]) == {
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 7,
    }
    assert attributes(batch) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "product-listed",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": 3,
        "messaging.consumer.group.name": "shelver",
    }
    for name in ("decode", "prepare"):
        assert collector.one(name).parent_span_id == batch.span_id
        assert collector.one(name).trace_id == batch.trace_id
    output = collector.one("send category-assigned")
    assert output.kind == Span.SPAN_KIND_PRODUCER
    assert (output.trace_id.hex(), output.parent_span_id.hex()) == (TRACE, SPAN)
    assert link_ids(output) == [(batch.trace_id.hex(), batch.span_id.hex())]
    assert ids(sent) == (TRACE, output.span_id.hex())
    assert dict(sent)["tracestate"] == b"shop=1"
    assert ids(untraced) == (batch.trace_id.hex(), batch.span_id.hex())
    assert ids(unsampled)[0] == TRACE
    assert ids(unsampled)[1] != SPAN
    assert not is_sampled(unsampled)
    assert collector.resource["service.name"] == "shelver"


def in_a_stage(spans: Tracing) -> None:
    with spans.stage("prepare"):
        pass


async def test_every_event_of_a_large_batch_has_its_link() -> None:
    with collecting() as collector:
        spans = spans_to(collector.endpoint, max_batch=200)
        with spans.batch("product-listed", [TRACED] * 200):
            pass
        await spans.stop()
    assert len(collector.one("process product-listed").links) == 200


async def test_a_batch_that_fails_is_an_error_and_so_is_what_it_sent() -> None:
    with collecting() as collector:
        spans = spans_to(collector.endpoint)
        with pytest.raises(FatalError), spans.batch("product-listed", [TRACED]):  # noqa: PT012
            spans.headers(TRACED, "category-assigned")
            raise FatalError("not delivered")
        await spans.stop()
    assert {span.status.code for span in collector.spans} == {Status.STATUS_CODE_ERROR}
    assert len(collector.spans) == 2


async def test_batches_at_once_do_not_mix() -> None:
    async def one(topic: str, spans: Tracing, other: asyncio.Event, mine: asyncio.Event) -> str:
        with spans.batch(topic, [PLAIN]):
            mine.set()
            await other.wait()
            with spans.stage(f"stage of {topic}"):
                return ids(spans.headers(PLAIN, "out"))[1]

    first, second = asyncio.Event(), asyncio.Event()
    with collecting() as collector:
        spans = spans_to(collector.endpoint)
        told = await asyncio.gather(one("a", spans, second, first), one("b", spans, first, second))
        await spans.stop()
    for topic, span in zip("ab", told, strict=True):
        assert collector.one(f"process {topic}").span_id.hex() == span
        assert collector.one(f"stage of {topic}").parent_span_id.hex() == span


async def test_the_names_and_sampling_of_opentelemetry_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shelf")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    with collecting() as collector:
        spans = spans_to(collector.endpoint)
        with spans.batch("product-listed", [TRACED]):
            assert is_sampled(spans.headers(TRACED, "category-assigned"))
            assert not is_sampled(spans.headers(PLAIN, "category-assigned"))
        await spans.stop()
    assert [span.name for span in collector.spans] == ["send category-assigned"]
    assert collector.resource["service.name"] == "shelf"
    assert collector.resource["deployment.environment.name"] == "test"


async def test_a_disabled_opentelemetry_leaves_traces_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    spans = spans_to("http://127.0.0.1:9/v1/traces")
    with spans.batch("product-listed", [TRACED]):
        assert spans.headers(TRACED, "category-assigned") == NO_SPANS.headers(TRACED, "category-assigned")
    await spans.stop()


@pytest.mark.parametrize("status", [400, 503])
async def test_a_collector_that_refuses_costs_spans_and_nothing_else(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.2")
    with collecting(status) as collector:
        spans = spans_to(collector.endpoint)
        with spans.batch("product-listed", [TRACED]):
            assert ids(spans.headers(TRACED, "category-assigned"))[0] == TRACE
        await spans.stop()
        assert collector.num_requests
    assert not collector.spans
    assert {record.name.partition(".")[0] for record in caplog.records} <= {"opentelemetry", "asyncio"}


async def test_a_stop_does_not_wait_for_a_collector_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    with collecting() as collector:
        collector.may_answer.clear()
        spans = spans_to(collector.endpoint)
        with spans.batch("product-listed", [TRACED]):
            pass
        await spans.stop()
        assert not collector.spans
        collector.may_answer.set()


def test_without_an_endpoint_nothing_is_recorded_and_traces_go_on() -> None:
    spans = build_tracing(TracingSettings(), group="shelver", max_batch=64)
    assert spans is NO_SPANS
    with spans.batch("product-listed", [TRACED]), spans.stage("decode"):
        assert spans.headers(TRACED, "category-assigned") == TRACED.headers
    assert spans.headers(PLAIN, "category-assigned") == []


def test_without_an_endpoint_opentelemetry_is_not_imported() -> None:
    code = (
        "import sys; from stream_app.tracing import *; "
        "build_tracing(TracingSettings(), group='g', max_batch=1); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_endpoint_without_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"SHELVER_TRACES_ENDPOINT .* pip install 'shelver\[tracing\]'"):
        spans_to("http://127.0.0.1:4318/v1/traces")


@pytest.mark.parametrize(
    "endpoint", ["", "collector:4318", "ftp://collector", "http://a:b@collector/v1/traces"]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        TracingSettings(traces_endpoint=endpoint)
