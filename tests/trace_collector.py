"""A collector of OpenTelemetry: takes spans by OTLP over HTTP and keeps them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """What came so far; ``resource`` is of the last request. It answers when ``may_answer`` is set."""

    port: int
    status: int
    spans: list[Span] = field(default_factory=list)
    resource: dict[str, str] = field(default_factory=dict)
    num_requests: int = 0
    may_answer: Event = field(default_factory=Event)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.named(name)
        return span

    def take(self, body: bytes) -> None:
        self.num_requests += 1
        self.may_answer.wait()
        if self.status != 200:
            return
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {each.key: each.value.string_value for each in group.resource.attributes}
            self.spans += [span for scope in group.scope_spans for span in scope.spans]


def attributes(spanlike: Any) -> dict[str, Any]:
    """The attributes of a span or a link."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in spanlike.attributes}


@contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    """A collector on loopback that answers every request with this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(server.server_port, status)
        collector.may_answer.set()
        running = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        running.start()
        try:
            yield collector
        finally:
            server.shutdown()
            running.join()
