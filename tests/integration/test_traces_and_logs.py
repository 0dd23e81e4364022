"""A worker whose spans go to a collector and whose log is JSON: what an event leaves behind, by its ids."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from schemas.explanations import explanation_request_id
from schemas.trace_context import TraceContext, read_trace_context
from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration import faulty_worker
from tests.integration.explanations import request
from tests.integration.workers import PATIENCE_SECONDS, Sent, Topics, Worker, listing, publish
from tests.json_schemas import VALIDATORS, as_text
from tests.trace_collector import Collector, attributes, collecting

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = ("traceparent", f"00-{TRACE}-{SPAN}-01".encode())
SCHEMAS_OF_TOPICS = {
    "assigned": "category-assigned",
    "explained": "category-explained",
    "requested": "explanation-requested",
}


def traced(record: Sent, *more: tuple[str, bytes | None]) -> Sent:
    key, value, headers = record
    return key, value, [*headers, TRACEPARENT, *more]


LISTED: list[Sent] = [
    traced(listing(1, explain=True), ("tracestate", b"shop=1")),
    listing(2, image={"data": "not base64!"}),
    traced((b"3", b"{not json", [])),
    traced(listing(4, title=" <br/> "), ("traceparent", b"nonsense")),
]
ASKED: list[Sent] = [traced(request(5, event_id="never-listed"))]


@dataclass
class Run:
    """What a worker left behind: records by the field of `Topics`, lines of its log, spans."""

    topics: Topics
    records: Mapping[str, list[Any]]
    lines: list[dict[str, Any]]
    collector: Collector

    def assigned(self, event_id: str) -> Any:
        (found,) = [
            each for each in self.records["assigned"] if json.loads(each.value)["event_id"] == event_id
        ]
        return found

    def about(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["message"].startswith(message)]

    def span(self, trace: TraceContext | None) -> Span:
        """The span that an output says it was sent by."""
        assert trace is not None
        (found,) = [each for each in self.collector.spans if each.span_id.hex() == trace.span_id]
        assert found.trace_id.hex() == trace.trace_id
        return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


async def read(bootstrap: str, topics: Topics, wanted: Mapping[str, int]) -> dict[str, list[ConsumerRecord]]:
    """So many records of each topic."""
    found: dict[str, list[ConsumerRecord]] = defaultdict(list)
    names = {getattr(topics, field): field for field in wanted}
    consumer = AIOKafkaConsumer(*names, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        for _ in range(int(PATIENCE_SECONDS)):
            for partition, records in (await consumer.getmany(timeout_ms=1000)).items():
                found[names[partition.topic]] += records
            if all(len(found[field]) >= number for field, number in wanted.items()):
                return found
    finally:
        await consumer.stop()
    raise AssertionError({field: len(records) for field, records in found.items()})


@pytest.fixture
async def run(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
    collector: Collector,
) -> Run:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, topics.requested, topics.explained)
    await publish(kafka.bootstrap, topics.listed, LISTED)
    await publish(kafka.bootstrap, topics.requested, ASKED)
    log = tmp_path / "log"
    with Worker(
        kafka.bootstrap,
        topics,
        demo_repository,
        log=log,
        command=faulty_worker.command("talkative"),
        traces_endpoint=collector.endpoint,
        log_format="json",
        log_level="debug",
    ) as worker:
        wanted = {"assigned": 2, "dead": 3, "requested": 2, "explained": 1}
        records = await read(kafka.bootstrap, topics, wanted)
        await worker.has_counted()
        assert await worker.stop() == 0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return Run(topics, records, lines, collector)


async def test_traces_and_lines_lead_from_an_event_to_all_that_it_caused(run: Run) -> None:
    every_line_is_an_object_with_what_it_is_about(run)
    traces_go_on(run)
    batches_are_spans(run)
    what_was_written_is_as_described(run)


def every_line_is_an_object_with_what_it_is_about(run: Run) -> None:
    assert all({"time", "level", "logger", "message"} <= set(line) for line in run.lines)
    assert {line["logger"].partition(".")[0] for line in run.lines} >= {
        "py",
        "aiokafka",
        "faust",
        "mode",
        "shelver",
    }
    (warning,) = [line for line in run.lines if "a library\nwarns" in line["message"]]
    assert warning["logger"] == "py.warnings"
    assert run.about("two lines:\n{}")
    assert run.about("does not fit: %d %d ('x',)")
    assert "ZeroDivisionError" in run.about("uncaught ZeroDivisionError")[0]["exception"]
    assert "JSONDecodeError" in run.about("a traceback")[0]["exception"]
    letters = {line["event_id"]: line for line in run.about("dead letter: ")}
    assert set(letters) == {f"{run.topics.listed}-0-2", "e-4", "never-listed"}
    assert {line["trace_id"] for line in letters.values()} == {TRACE}
    assert letters["e-4"]["source"] == f"{run.topics.listed}-0-3"
    assert letters["e-4"]["message"] == "dead letter: prepare, empty_listing"
    (picture,) = run.about("no picture: ")
    assert (picture["event_id"], picture["source"]) == ("e-2", f"{run.topics.listed}-0-1")
    assert "trace_id" not in picture


def traces_go_on(run: Run) -> None:
    category = read_trace_context(run.assigned("e-1").headers)
    sent = run.span(category)
    assert (sent.name, sent.trace_id.hex(), sent.parent_span_id.hex()) == (
        f"send {run.topics.assigned}",
        TRACE,
        SPAN,
    )
    assert category is not None
    assert category.state == "shop=1"
    (question,) = [each for each in run.records["requested"] if each.key == b"1"]
    asked = run.span(read_trace_context(question.headers))
    assert (asked.name, asked.parent_span_id.hex()) == (f"send {run.topics.requested}", SPAN)
    (answer,) = run.records["explained"]
    assert json.loads(answer.value)["request_id"] == explanation_request_id("e-1")
    explained = run.span(read_trace_context(answer.headers))
    assert (explained.trace_id.hex(), explained.parent_span_id) == (TRACE, asked.span_id)
    untraced = run.span(read_trace_context(run.assigned("e-2").headers))
    assert untraced.name == f"process {run.topics.listed}"
    for letter in run.records["dead"]:
        assert [header for header in letter.headers if header[0] == "traceparent"][:1] == [TRACEPARENT]


def batches_are_spans(run: Run) -> None:
    batches = run.collector.named(f"process {run.topics.listed}")
    assert sum(attributes(batch)["messaging.batch.message_count"] for batch in batches) == len(LISTED)
    links = [link for batch in batches for link in batch.links]
    assert {link.trace_id.hex() for link in links} == {TRACE}
    assert {attributes(link)["messaging.kafka.offset"] for link in links} == {0, 2, 3}
    stages = {
        span.name for span in run.collector.spans if span.parent_span_id in {b.span_id for b in batches}
    }
    assert stages >= {"decode", "prepare", "inference", "publish"}
    (first,) = [
        batch
        for batch in batches
        if any(attributes(link)["messaging.kafka.offset"] == 0 for link in batch.links)
    ]
    category = run.span(read_trace_context(run.assigned("e-1").headers))
    assert [link.span_id for link in category.links] == [first.span_id]


def what_was_written_is_as_described(run: Run) -> None:
    for field, name in SCHEMAS_OF_TOPICS.items():
        for record in run.records[field]:
            VALIDATORS[name].validate(json.loads(record.value))
            VALIDATORS[f"{name}.headers"].validate(as_text(record.headers))
    for letter in run.records["dead"]:
        VALIDATORS["dead-letter.headers"].validate(as_text(letter.headers))


def test_the_error_of_a_start_is_a_line_as_the_others() -> None:
    command = [
        sys.executable,
        "-m",
        "stream_app",
        "--log-format",
        "json",
        "worker",
        "--broker",
        "kafka://a:b",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = map(json.loads, ended.stderr.splitlines())
    assert line["level"] == "error"
    assert "is no broker address" in line["message"]
