"""Requests that schemathesis makes of the OpenAPI document, right and wrong: every answer is one of ours."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from stream_app.broker import EmbeddedBroker
from tests.integration.gateways import Gateway
from tests.integration.workers import Topics

NUM_EXAMPLES = 20
ENDLESS = "/v1/live/events"
LATE = 504
"""Of the original's paths, as there is no worker here."""
NO_HTTP = "Invalid HTTP request received."
"""Of the server, about bytes that are no request."""


@pytest.fixture(scope="module")
def gateway(
    kafka: EmbeddedBroker, demo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    topics = Topics(
        *(f"fuzz.{name}" for name in ("listed", "assigned", "dead", "asked", "explained", "group"))
    )
    folder = tmp_path_factory.mktemp("gateway")
    fast: dict[str, Any] = {
        "gateway_deadline_seconds": 0.02,
        "gateway_max_wait_seconds": 0.05,
        "gateway_requests_per_second": 100_000,
        "gateway_burst": 100_000,
        "gateway_training_dir": folder / "runs",
    }
    with Gateway(kafka.bootstrap, topics, demo_repository, log=folder / "log", **fast) as gateway:
        asyncio.run(gateway.ready())
        yield gateway


def check(response: Any) -> None:
    """An answer in the form that is promised, and no fault of the gateway."""
    assert response.status_code < 500 or response.status_code == LATE, response.text
    if response.text == NO_HTTP:
        return
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    assert headers["x-request-id"]
    if response.status_code >= 400:
        assert headers["content-type"] == "application/problem+json"
        problem = json.loads(response.content)
        assert problem["status"] == response.status_code
        assert problem["detail"]


def test_no_request_is_answered_with_a_fault(gateway: Gateway) -> None:
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    operations = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operations.append(found.ok())
    assert len(operations) > 20
    for operation in operations:
        if operation.path == ENDLESS:
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=NUM_EXAMPLES,
                database=None,
                deadline=None,
                derandomize=True,
                phases=(Phase.explicit, Phase.generate),
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                check(case.call(timeout=30))

            ask()
    assert gateway.get("/readyz")[0] == 200
    assert "a request failed" not in gateway.log.read_text(errors="replace")
