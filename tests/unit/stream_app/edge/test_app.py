"""What holds for every request: keys, roles, rates, sizes, ids, and problems for whatever goes wrong."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.unit.stream_app.edge.applications import (
    HERE,
    KEYS,
    application,
    asked,
    kind_of,
    settings_with_keys,
)

PRODUCT = {"product_id": "p-1", "title": "Lampe"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with asked(application()) as client:
        yield client


async def test_without_brokers_nothing_is_accepted(client: httpx.AsyncClient) -> None:
    for path, body in (
        ("/v1/products", PRODUCT),
        ("/v1/explanations", {"product": PRODUCT}),
        ("/v1/corrections", {"product_id": "p-1", "category": {"code": 10}}),
        ("/api/v1/predict/text", {"text": "Lampe"}),
    ):
        answer = await client.post(path, json=body)
        assert kind_of(answer) == (503, "unavailable")
        assert answer.headers["retry-after"]
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/healthz")).json() == {"healthy": True}


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("GET", "/nowhere", (404, "not-found")),
        ("PUT", "/v1/products", (405, "method-not-allowed")),
        ("GET", "/v1/products/e-1?wait=-1", (422, "invalid")),
        ("GET", "/v1/products/e-1?wait=long", (422, "invalid")),
        ("GET", "/v1/live?most=0", (422, "invalid")),
        ("GET", "/v1/products/e-1", (404, "not-found")),
        ("GET", "/v1/training-runs/none", (404, "not-found")),
        ("GET", "/v1/training-runs/..%2F..%2Fetc", (404, "not-found")),
        ("GET", "/v1/models/..%2F..%2Fetc/versions/1", (404, "not-found")),
        ("GET", "/docs", (404, "not-found")),
    ],
)
async def test_errors_of_every_kind_are_problems(
    client: httpx.AsyncClient, method: str, path: str, told: tuple[int, str]
) -> None:
    assert kind_of(await client.request(method, path)) == told


async def test_fields_that_are_wrong_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/products/e-1?wait=long")
    assert answer.json()["errors"] == [{"field": "query.wait"}]
    answer = await client.post("/v1/products", json={"product_id": "1", "title": 5, "explain": []})
    assert {each["field"] for each in answer.json()["errors"]} == {"title", "explain"}


async def test_a_fault_is_answered_without_its_internals_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = application()

    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("a secret detail")

    async with asked(app) as client:
        with caplog.at_level(logging.ERROR):
            answer = await client.get("/fault", headers={"X-Request-ID": "mine-1"})
    assert kind_of(answer) == (500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "mine-1"
    (record,) = (each for each in caplog.records if each.name.startswith("stream_app.edge"))
    assert record.__dict__["request_id"] == "mine-1"


@pytest.mark.parametrize("content_type", [b"application/json", b"multipart/form-data; boundary=x"])
async def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_fault(
    content_type: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = application()
    pieces = iter([{"type": "http.request", "body": b"--x", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive() -> Any:
        return next(pieces)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/products",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", content_type)],
    }
    await app(scope, receive, send)
    assert not sent
    assert not caplog.records
    async with asked(app) as client:
        metrics = (await client.get("/metrics")).text
    assert 'route="/v1/products",status="499"} 1.0' in metrics
    assert "shelver_gateway_faults_total 0.0" in metrics


@pytest.mark.parametrize("told", ["a b", "x" * 129, "\x01", ""])
async def test_a_request_id_that_is_not_fit_for_a_log_is_replaced(
    client: httpx.AsyncClient, told: str
) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": told})
    assert len(answer.headers["x-request-id"]) == 36


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("POST", "/v1/products", {"submit"}),
        ("GET", "/v1/products/e-1", {"submit", "read"}),
        ("GET", "/v1/products/e-1/events", {"submit", "read"}),
        ("GET", "/v1/products/e-1/listing", {"read"}),
        ("POST", "/v1/shop-pages", {"submit"}),
        ("POST", "/v1/explanations", {"submit"}),
        ("GET", "/v1/explanations/r-1", {"submit", "read"}),
        ("POST", "/v1/corrections", {"submit"}),
        ("GET", "/v1/categories", {"submit", "read"}),
        ("GET", "/v1/limits", {"submit", "read"}),
        ("GET", "/v1/models", {"read"}),
        ("GET", "/v1/models/fusion/versions/1", {"read"}),
        ("POST", "/v1/models/fusion/aliases/champion", {"train"}),
        ("GET", "/v1/live", {"read"}),
        ("POST", "/v1/training-runs", {"train"}),
        ("GET", "/v1/training-runs", {"read"}),
        ("GET", "/v1/training-runs/1", {"read"}),
        ("GET", "/v1/training-runs/1/log", {"train"}),
        ("DELETE", "/v1/training-runs/1", {"train"}),
        ("POST", "/api/v1/predict/text", {"submit"}),
        ("POST", "/api/v1/predict/image", {"submit"}),
        ("POST", "/api/v1/predict/fusion", {"submit"}),
        ("POST", "/api/v1/explain/text", {"submit"}),
        ("POST", "/api/v1/explain/image", {"submit"}),
        ("POST", "/api/v1/train", {"train"}),
    ],
)
async def test_every_route_asks_for_its_role(method: str, path: str, roles: set[str]) -> None:
    app = application(**settings_with_keys())
    async with asked(app) as nobody:
        assert kind_of(await nobody.request(method, path)) == (401, "unauthorized")
    for role, key in KEYS.items():
        async with asked(app, key=key) as client:
            answer = await client.request(method, path)
        assert (answer.status_code == 403) is (role not in roles), answer.text


async def test_every_route_is_in_the_table_above() -> None:
    marks = test_every_route_asks_for_its_role.pytestmark[0].args[1]  # type: ignore[attr-defined]
    asked_for = {(method, path.replace("e-1", "{id}").replace("r-1", "{id}")) for method, path, _ in marks}
    paths = application(**settings_with_keys()).openapi()["paths"]
    assert len(asked_for) + 1 == sum(len(methods) for methods in paths.values())  # and the stream of `live`


async def test_health_and_metrics_need_no_key() -> None:
    async with asked(application(**settings_with_keys())) as nobody:
        for path in ("/healthz", "/metrics", "/openapi.json"):
            assert (await nobody.get(path)).status_code == 200


async def test_a_key_that_asks_too_often_is_told_to_wait() -> None:
    app = application(**settings_with_keys(), gateway_requests_per_second=0.1, gateway_burst=2)
    async with asked(app, key=KEYS["read"]) as client:
        answers = [await client.get("/v1/live") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert kind_of(answers[2]) == (429, "too-many-requests")
        assert answers[2].headers["retry-after"] == "10"
        metrics = (await client.get("/metrics")).text
    assert 'shelver_gateway_rejections_total{reason="rate"} 1.0' in metrics
    async with asked(app, key=KEYS["submit"]) as other:
        assert (await other.get("/v1/products/e-1")).status_code == 404


async def test_a_product_in_a_list_counts_as_a_request() -> None:
    app = application(gateway_requests_per_second=0.1, gateway_burst=10)
    async with asked(app) as client:
        assert kind_of(await client.post("/v1/products", json={"products": [PRODUCT] * 9}))[0] == 503
        assert kind_of(await client.post("/v1/products", json={"products": [PRODUCT] * 9}))[0] == 429


PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


async def _pieces(num_bytes: int) -> AsyncIterator[bytes]:
    yield PART
    for _ in range(num_bytes // 512):
        yield bytes(512)


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain"]
)
async def test_a_body_beyond_the_limit_is_refused_while_it_streams_in(content_type: str) -> None:
    app = application(gateway_max_body_bytes=2_048)
    async with asked(app) as client:
        for content in (b"x" * 2_049, _pieces(1_000_000)):
            answer = await client.post(
                "/v1/products", content=content, headers={"Content-Type": content_type}
            )
            if content_type != "text/plain" or isinstance(content, bytes):
                assert kind_of(answer) == (413, "too-large")
                assert answer.json()["limit_bytes"] == 2_048
            else:
                assert kind_of(answer) == (415, "unsupported-media-type")
    edge = app.state.edge
    assert (edge.bodies.num_bytes, edge.places.num_taken) == (0, 0)


async def test_the_limit_is_the_same_in_the_document(client: httpx.AsyncClient) -> None:
    assert "10485760 bytes (10.0 MiB)" in (await client.get("/openapi.json")).json()["info"]["description"]


async def test_more_requests_than_may_be_at_once_are_refused() -> None:
    app = application(gateway_max_requests=1)
    with app.state.edge.places.place():
        async with asked(app) as client:
            assert kind_of(await client.get("/v1/live")) == (503, "unavailable")
            assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("url", "headers", "status"),
    [
        (HERE, {}, 404),
        ("http://localhost:8000", {}, 404),
        ("http://[::1]:8000", {}, 404),
        ("http://attacker.example", {}, 421),
        ("http://127.0.0.1.attacker.example", {}, 421),
        (HERE, {"Origin": HERE}, 404),
        (HERE, {"Origin": "http://console.example"}, 404),
        (HERE, {"Origin": "http://attacker.example"}, 403),
        (HERE, {"Origin": "null"}, 403),
    ],
)
async def test_pages_of_others_cannot_ask_through_a_browser_here(
    url: str, headers: dict[str, str], status: int
) -> None:
    app = application(gateway_allowed_origins=("http://console.example",))
    async with asked(app, url=url) as client:
        answer = await client.request("DELETE", "/v1/training-runs/1", headers=headers)
        assert answer.status_code == status, answer.text


async def test_no_origin_may_ask_unless_it_is_named() -> None:
    preflight = {"Origin": "http://console.example", "Access-Control-Request-Method": "POST"}
    async with asked(application()) as client:
        assert "access-control-allow-origin" not in (await client.get("/healthz", headers=preflight)).headers
    app = application(gateway_allowed_origins=("http://console.example",))
    async with asked(app) as client:
        answer = await client.options("/v1/products", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "http://console.example"


async def test_metrics_have_templates_of_routes_and_nothing_of_clients() -> None:
    async with asked(application()) as client:
        for number in range(20):
            await client.get(f"/v1/products/secret-{number}")
            await client.request(f"VERB{number}", f"/secret-{number}")
        text = (await client.get("/metrics")).text
    assert "secret" not in text
    assert "VERB" not in text
    assert 'route="/v1/products/{event_id:path}",status="404"} 20.0' in text
    assert text.count("shelver_gateway_requests_total{") == 2


@pytest.mark.parametrize(
    "form",
    [
        {"data": {"title": "no id"}},
        {"data": {"product_id": "1", "image": "no file"}},
        {"data": {"product_id": "1", "explain": "perhaps"}},
        {"data": {"product_id": "1"}, "files": {"other": b"x"}},
        {"data": {"product_id": "1"}, "files": {"image": b"<html></html>"}},
        {"data": {"product_id": "1", "image_url": "https://shop.example/a"}, "files": {"image": b"x"}},
    ],
)
async def test_a_form_that_is_wrong_is_refused(client: httpx.AsyncClient, form: dict[str, object]) -> None:
    files = form.get("files") or {"empty": b""}
    assert isinstance(files, dict)
    answer = await client.post("/v1/products", data=form["data"], files=files)  # type: ignore[arg-type]
    assert kind_of(answer)[0] in (415, 422)


async def test_a_damaged_form_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for content in (
        b"no form",
        b"--x\r\n\r\n\r\n--x--",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--",
    ):
        assert kind_of(await client.post("/v1/products", content=content, headers=headers))[0] in (400, 422)


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def operations(app: FastAPI) -> list[tuple[str, dict[str, object]]]:
    paths = app.openapi()["paths"].items()
    return [(f"{method} {path}", each) for path, methods in paths for method, each in methods.items()]


def test_the_document_is_complete() -> None:
    app = application()
    document = app.openapi()
    assert document["openapi"] == "3.1.0"
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert "HTTPValidationError" not in json.dumps(document)
    for name, operation in operations(app):
        assert operation["summary"], name
        assert operation["description"], name
        content = json.dumps(operation)
        if "requestBody" in operation:
            assert '"examples"' in content, name
        assert "application/problem+json" in content, name
        assert operation.get("deprecated", False) is ("/api/v1/" in name)
