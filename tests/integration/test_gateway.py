"""The HTTP edge with a real Kafka and a real worker: products in, categories out, and what goes wrong."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.gateways import Answer, Gateway, HttpClient, until
from tests.integration.workers import Topics, Worker, publish
from tests.pictures import plain, saved

TOO_LARGE = 60 * 2**20


@pytest.fixture(scope="module")
def topics() -> Topics:
    return Topics(*(f"gateway.{name}" for name in ("listed", "assigned", "dead", "asked", "explained", "group")))


@pytest.fixture(scope="module")
def worker(
    kafka: EmbeddedBroker, topics: Topics, demo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    log = tmp_path_factory.mktemp("worker") / "log"
    with Worker(kafka.bootstrap, topics, demo_repository, log=log) as worker:
        asyncio.run(worker.ready())
        yield worker


@pytest.fixture(scope="module")
def gateway(
    kafka: EmbeddedBroker,
    topics: Topics,
    worker: Worker,
    demo_repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    assert worker
    log = tmp_path_factory.mktemp("gateway") / "log"
    with Gateway(kafka.bootstrap, topics, demo_repository, log=log) as gateway:
        asyncio.run(gateway.ready())
        yield gateway


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[HttpClient]:
    async with HttpClient(gateway) as client:
        yield client


def product(number: int, **fields: object) -> dict[str, object]:
    return {"product_id": f"p-{number}", "title": f"Lampe de chevet n° {number}", **fields}


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    assert answer.body["status"] == answer.status
    assert answer.body["request_id"] == answer.headers["X-Request-ID"]
    return answer.status, answer.body["type"].rpartition(":")[2]


async def test_a_product_is_answered_with_its_category_and_known_by_its_id(client: HttpClient) -> None:
    answer = await client.post("/v1/products", product(1))
    assert answer.status == 200, answer
    assert answer.body["status"] == "assigned"
    assert answer.body["assigned"]["product_id"] == answer.body["product_id"] == "p-1"
    assert 0 < answer.body["assigned"]["category"]["probability"] <= 1
    again = await client.get(f"/v1/products/{answer.body['event_id']}")
    assert (again.status, again.body) == (200, answer.body)
    assert len(answer.body["event_id"]) == 36
