"""Traces: the trace of an event goes on in what it causes, and where it is asked for each batch is a span.

Those of the gateway are in `stream_app.edge.tracing`.

Without `SHELVER_TRACES_ENDPOINT` nothing is recorded and nothing of OpenTelemetry is imported: outputs carry
the trace context of the event that caused them as it came. With it (the extra `tracing`):

- a batch is a span `process TOPIC` in a trace of its own, with a link to the span of each event in it and its
  stages as children: an event has one parent, so a batch of many cannot stand in the trace of each;
- what a traced event causes is a span `send TOPIC` in the event's trace, child of the span that sent the
  event and linked to the batch; it ends when the brokers have confirmed the batch. Its context is that of the
  output, so the trace goes from the producer through Shelver to the consumer. Whether it is recorded follows
  from what the event says (`OTEL_TRACES_SAMPLER`, by default as its sender);
- what an event without a trace causes carries the context of its batch.

Names and attributes are those of OpenTelemetry's conventions for messaging; `OTEL_*` variables for headers,
certificates, sampling, limits and resource attributes are OpenTelemetry's own. Spans are sent from a thread
in the background; those that do not fit its queue or cannot be sent are dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import version as distribution_version
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.trace_context import TraceContext, read_trace_context, trace_headers
from stream_app.batching import Record
from stream_app.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Span, SpanContext

FLUSH_SECONDS: Final = 3.0
"""Longest a stop waits for spans that are not sent yet."""

_NOTHING: Final = nullcontext()


class TracingSettings(BaseModel):
    """Where spans go."""

    model_config = ConfigDict(frozen=True)

    traces_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="Where spans are sent by OTLP over HTTP, such as http://collector:4318/v1/traces: of each"
        " batch of a worker, and of each request to a gateway; by default nowhere. Needs the extra tracing.",
    )


class Tracing:
    """Records no spans; the trace of an event goes on in what it causes."""

    def batch(self, topic: str, records: Sequence[Record]) -> AbstractContextManager[None]:  # noqa: ARG002
        """What the work on a batch of records of a topic happens in, until it is confirmed."""
        return _NOTHING

    def stage(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """What a stage of the batch that is worked on happens in."""
        return _NOTHING

    def headers(self, cause: Record, topic: str) -> list[tuple[str, bytes]]:  # noqa: ARG002
        """The headers with which a record for a topic takes on the trace of the record that caused it."""
        return trace_headers(cause.headers)

    async def stop(self) -> None:
        """Send what is recorded, for at most `FLUSH_SECONDS`."""


NO_SPANS: Final = Tracing()


def build_tracing(settings: TracingSettings, *, group: str, max_batch: int) -> Tracing:
    """What the settings ask for.

    Args:
        settings: where spans go.
        group: the consumer group.
        max_batch: most records in one batch; a span has a link for each.

    Raises:
        SettingsError: spans are asked for, and OpenTelemetry is not installed.
    """
    if settings.traces_endpoint is None:
        return NO_SPANS
    return SpanTracing(span_provider(settings.traces_endpoint, "shelver", max_links=max_batch), group)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The batch that is worked on: its span, and those of what it sends."""

    span: Span
    sent: list[Span] = field(default_factory=list)


_BATCH: ContextVar[_Batch | None] = ContextVar("batch", default=None)


class SpanTracing(Tracing):
    """Records spans with OpenTelemetry, which is imported only here.

    Args:
        provider: where spans go.
        group: the consumer group.
    """

    def __init__(self, provider: TracerProvider, group: str) -> None:
        self._provider = provider
        self._group = group
        self._tracer = provider.get_tracer("shelver", distribution_version("shelver"))

    @contextmanager
    def batch(self, topic: str, records: Sequence[Record]) -> Iterator[None]:
        """A span with links to the records; it is an error, as all it sends, when an exception leaves it."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, StatusCode

        attributes = {
            **_about(topic, "process"),
            "messaging.batch.message_count": len(records),
            "messaging.consumer.group.name": self._group,
        }
        links = [link for record in records if record.headers for link in _links(record)]
        with self._tracer.start_as_current_span(
            f"process {topic}", Context(), SpanKind.CONSUMER, attributes, links
        ) as span:
            batch = _Batch(span)
            token = _BATCH.set(batch)
            try:
                yield
            except BaseException:
                for sent in batch.sent:
                    sent.set_status(StatusCode.ERROR, "not confirmed")
                raise
            finally:
                _BATCH.reset(token)
                for sent in batch.sent:
                    sent.end()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A child of the span of the batch."""
        with self._tracer.start_as_current_span(name):
            yield

    def headers(self, cause: Record, topic: str) -> list[tuple[str, bytes]]:
        """The context of a span of its own in the trace of the cause; without a trace that of the batch."""
        from opentelemetry.trace import Link, SpanKind

        batch = _BATCH.get()
        if batch is None or not batch.span.get_span_context().is_valid:
            return super().headers(cause, topic)
        context = read_trace_context(cause.headers) if cause.headers else None
        if context is None:
            return as_headers(batch.span.get_span_context())
        span = self._tracer.start_span(
            f"send {topic}",
            as_parent(context),
            SpanKind.PRODUCER,
            _about(topic, "send"),
            [Link(batch.span.get_span_context())],
        )
        batch.sent.append(span)
        return as_headers(span.get_span_context())

    async def stop(self) -> None:
        """Send what is recorded."""
        await stop_spans(self._provider)


def span_provider(endpoint: str, service: str, *, max_links: int | None = None) -> TracerProvider:
    """Where spans go.

    Args:
        endpoint: of the collector.
        service: what spans say that they are of, unless `OTEL_*` variables say something else.
        max_links: most links of a span; None for OpenTelemetry's own limit.

    Raises:
        SettingsError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            "SHELVER_TRACES_ENDPOINT needs OpenTelemetry: pip install 'shelver[tracing]'"
        ) from error

    ours = {"service.name": service, "service.version": distribution_version("shelver")}
    provider = TracerProvider(
        resource=Resource.create(ours).merge(OTELResourceDetector().detect()),
        span_limits=SpanLimits(max_links=max_links),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    return provider


async def stop_spans(provider: TracerProvider) -> None:
    """Send what is recorded; a collector that does not answer is given up after `FLUSH_SECONDS`."""
    # A thread that the interpreter does not wait for: OpenTelemetry's own bound is 30 s.
    flushing = Thread(target=provider.shutdown, name="last spans", daemon=True)
    flushing.start()
    await asyncio.to_thread(flushing.join, FLUSH_SECONDS)


def _about(topic: str, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }


def _links(record: Record) -> Iterator[Link]:
    from opentelemetry.trace import Link

    context = read_trace_context(record.headers)
    if context is not None:
        place: dict[str, str | int] = {
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        yield Link(_span_context(context), place)


def _span_context(context: TraceContext) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(context.flags, 16)),
        trace_state=TraceState.from_header([context.state]),
    )


def as_parent(context: TraceContext) -> Context:
    """What a span that goes on from there is a child of."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(_span_context(context)), Context())


def as_headers(context: SpanContext) -> list[tuple[str, bytes]]:
    """The headers of what a span has sent."""
    return TraceContext(
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        f"{context.trace_flags:02x}",
        context.trace_state.to_header(),
    ).as_headers()
