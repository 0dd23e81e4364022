"""The trace of a client of the gateway, in the headers of the records that its requests cause."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from schemas.trace_context import TraceContext, read_trace_context
from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.gateways import Gateway, HttpClient
from tests.integration.workers import Topics
from tests.trace_collector import attributes, collecting

CLIENT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "01", "shop=1")
TRACED = {name: value.decode() for name, value in CLIENT.as_headers()}
REQUESTS: tuple[tuple[str, dict[str, object]], ...] = (
    (
        "/v1/products?wait=0",
        {"products": [{"product_id": "1", "title": "a"}, {"product_id": "2", "title": "b"}]},
    ),
    ("/v1/explanations?wait=0", {"request_id": "r-1", "product": {"product_id": "1", "title": "a"}}),
    ("/v1/corrections", {"product_id": "1", "category": {"code": 10}}),
)


@pytest.fixture
async def topics(topic_names: TopicNames, create_topics: CreateTopics) -> Topics:
    topics = Topics.named(topic_names)
    await create_topics(
        topics.listed, topics.requested, topics.corrected, topics.assigned, topics.explained, topics.dead
    )
    return topics


async def ask(gateway: Gateway) -> None:
    async with HttpClient(gateway) as client:
        for path, body in REQUESTS:
            answer = await client.post(path, body, headers=TRACED)
            assert answer.status == 202, answer
        assert (await client.get("/v1/live", headers=TRACED)).status == 200


async def written(kafka: EmbeddedBroker, topics: Topics) -> dict[str, list[TraceContext | None]]:
    """The traces of all records that the requests cause, by topic."""
    names = (topics.listed, topics.requested, topics.corrected)
    found: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(
        *names, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        while len(found) < 4:
            found.append(await consumer.getone())
    return {
        name: [read_trace_context(record.headers) for record in found if record.topic == name]
        for name in names
    }


async def test_without_spans_records_carry_the_context_of_the_client(
    kafka: EmbeddedBroker, topics: Topics, tmp_path: Path
) -> None:
    with Gateway(kafka.bootstrap, topics, tmp_path / "none", log=tmp_path / "log") as gateway:
        await gateway.ready()
        await ask(gateway)
        assert await gateway.stop() == 0
    assert await written(kafka, topics) == {
        topics.listed: [CLIENT, CLIENT],
        topics.requested: [CLIENT],
        topics.corrected: [CLIENT],
    }


async def test_with_spans_records_carry_the_context_of_their_request(
    kafka: EmbeddedBroker, topics: Topics, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        collecting() as collector,
        Gateway(
            kafka.bootstrap, topics, tmp_path / "none", log=log, traces_endpoint=collector.endpoint
        ) as gateway,
    ):
        await gateway.ready()
        await ask(gateway)
        assert gateway.get("/metrics")[0] == 200
        assert await gateway.stop() == 0
    spans = {span.name: span for span in collector.spans}
    assert set(spans) == {
        "POST /v1/products",
        "POST /v1/explanations",
        "POST /v1/corrections",
        "GET /v1/live",
    }
    for span in spans.values():
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (CLIENT.trace_id, CLIENT.span_id)
    assert attributes(spans["POST /v1/products"])["http.response.status_code"] == 202
    products, question, correction = (
        TraceContext(CLIENT.trace_id, spans[f"POST /v1/{name}"].span_id.hex(), "01", "shop=1")
        for name in ("products", "explanations", "corrections")
    )
    assert await written(kafka, topics) == {
        topics.listed: [products, products],
        topics.requested: [question],
        topics.corrected: [correction],
    }
