"""The HTTP edge with a real Kafka and a real worker: products in, categories out, and what goes wrong."""

import asyncio
import base64
import contextlib
import json
import shlex
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import FormData

from models.bundle import BundleMetadata, read_bundle, write_bundle
from models.repository import ModelRepository
from stream_app.broker import EmbeddedBroker
from tests.conftest import TopicNames
from tests.gateway_page import shown_requests
from tests.integration.gateways import Answer, Gateway, HttpClient, until
from tests.integration.workers import Topics, Worker, publish
from tests.picture_server import PRIVATE, PUBLIC, PictureServer, allowing, redirect, response
from tests.pictures import plain, saved

TOO_LARGE = 60 * 2**20
LAMP_PAGE = b'<meta property="og:type" content="product"><meta property="og:title" content="Lampe"><p>Belle.'


@pytest.fixture(scope="module")
def topics() -> Topics:
    return Topics(
        *(f"gateway.{name}" for name in ("listed", "assigned", "dead", "asked", "explained", "group"))
    )


@pytest.fixture(scope="module")
def repository(demo_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, as versions and aliases are added, with the model's usual name beside the demo's."""
    root = shutil.copytree(demo_repository, tmp_path_factory.mktemp("models") / "repository")
    location = ModelRepository(root).resolve("demo@champion")
    bundle = read_bundle(location.folder)
    metadata = BundleMetadata(golden=bundle.golden.products, metrics=bundle.metrics, card="# fusion\n")
    write_bundle(
        root / "fusion" / "1", bundle.network, bundle.labels, name="fusion", version="1", metadata=metadata
    )
    ModelRepository(root).promote("fusion@1", "champion")
    return root


@pytest.fixture(scope="module")
def worker(
    kafka: EmbeddedBroker, topics: Topics, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    log = tmp_path_factory.mktemp("worker") / "log"
    with Worker(kafka.bootstrap, topics, repository, log=log, **allowing()) as worker:
        asyncio.run(worker.ready())
        yield worker


@pytest.fixture(scope="module")
def gateway(
    kafka: EmbeddedBroker,
    topics: Topics,
    worker: Worker,
    repository: Path,
    sample_catalogue: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    assert worker.process is not None
    folder = tmp_path_factory.mktemp("gateway")
    settings = {
        "model": "demo@champion",
        "gateway_catalogues": json.dumps({"shop": str(sample_catalogue)}),
        "gateway_training_dir": folder / "runs",
        "gateway_training_overrides": '["callbacks=none"]',
        "shop_page_allow_http": True,
        "shop_page_allowed_networks": json.dumps([f"{PUBLIC}/32"]),
        **allowing(),
    }
    with Gateway(kafka.bootstrap, topics, repository, log=folder / "log", **settings) as gateway:
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


async def test_several_products_have_an_outcome_each(client: HttpClient) -> None:
    products = [
        product(10),
        {"title": "no id"},
        product(11, image={"url": "https://10.0.0.1/a.jpg"}),
        product(12, title=" <br> "),
        "not a product",
        product(13),
    ]
    answer = await client.post("/v1/products", {"products": products})
    assert answer.status == 200, answer
    told = answer.body["products"]
    assert [each["status"] for each in told] == [
        "assigned",
        "refused",
        "refused",
        "failed",
        "refused",
        "assigned",
    ]
    assert [each["product_id"] for each in told] == ["p-10", None, "p-11", "p-12", None, "p-13"]
    assert told[1]["problem"]["errors"] == [{"field": "product_id"}]
    assert (told[2]["problem"]["status"], told[2]["problem"]["reason"]) == (422, "blocked")
    assert (told[3]["problem"]["stage"], told[3]["problem"]["reason"]) == ("prepare", "empty_listing")


async def test_a_list_of_refused_products_is_answered(client: HttpClient) -> None:
    answer = await client.post("/v1/products", {"products": [{}, "not a product"]})
    assert [each["status"] for each in answer.body["products"]] == ["refused", "refused"]


async def test_a_form_carries_a_picture(client: HttpClient) -> None:
    form = FormData({"product_id": "p-20", "title": "Lampe"})
    form.add_field("image", saved(plain()), filename="whatever.exe", content_type="text/html")
    answer = await client.post("/v1/products", data=form)
    assert answer.status == 200, answer
    assert answer.body["assigned"]["modalities"] == {"text": "used", "image": "used"}
    data = base64.b64encode(saved(plain(), "JPEG")).decode()
    answer = await client.post("/v1/products", product(21, title="", image={"data": data}))
    assert answer.body["assigned"]["modalities"] == {"text": "absent", "image": "used"}


async def test_a_shop_page_is_read_and_one_that_is_none_or_not_public_is_refused(client: HttpClient) -> None:
    async with PictureServer(response(LAMP_PAGE, Content_Type="text/html")) as shop:
        answer = await client.post("/v1/shop-pages", {"url": shop.url("/lampe")})
        private = await client.post("/v1/shop-pages", {"url": f"http://{PRIVATE}:{shop.port}/lampe"})
    assert answer.status == 200, answer
    assert (answer.body["title"], answer.body["source"]) == ("Lampe", "opengraph")
    assert answer.body["image_urls"] == []
    assert problem(private) == (422, "blocked-address")
    async with PictureServer(redirect(f"http://{PRIVATE}/")) as elsewhere:
        assert problem(await client.post("/v1/shop-pages", {"url": elsewhere.url()}))[0] == 422
    async with PictureServer(response(saved(plain()), Content_Type="image/png")) as pictures:
        picture = await client.post("/v1/shop-pages", {"url": pictures.url()})
    assert problem(picture) == (422, "refused")
    assert picture.body["reason"] == "not_html"
    assert problem(await client.post("/v1/shop-pages", {"url": ""})) == (422, "invalid")


async def test_an_explanation_that_is_asked_for_comes_along(client: HttpClient) -> None:
    answer = await client.post("/v1/products", product(30, explain=True))
    assert answer.status == 200, answer
    assert answer.body["explained"]["event_id"] == answer.body["event_id"]
    assert (await client.get(f"/v1/products/{answer.body['event_id']}")).body == answer.body


async def test_two_clients_at_once_never_see_each_others_result(gateway: Gateway) -> None:
    async def many(client: HttpClient, name: str) -> list[Answer]:
        sent = (
            client.post("/v1/products", {"product_id": f"{name}-{number}", "title": f"Lampe {number}"})
            for number in range(100)
        )
        return await asyncio.gather(*sent)

    async with HttpClient(gateway) as one, HttpClient(gateway) as other:
        answers = await asyncio.gather(many(one, "one"), many(other, "other"))
    for name, told in zip(("one", "other"), answers, strict=True):
        assert [each.body["assigned"]["product_id"] for each in told] == [f"{name}-{n}" for n in range(100)]
    assert len({each.body["event_id"] for told in answers for each in told}) == 200


async def test_what_is_sent_again_is_answered_and_not_sent_again(
    client: HttpClient, gateway: Gateway
) -> None:
    first = await client.post("/v1/products", product(40, event_id="my/event"))
    sent = await gateway.metric("shelver_gateway_records_sent_total")
    again = await client.post("/v1/products", product(40, event_id="my/event"))
    assert again.body == first.body
    assert (await client.get("/v1/products/my%2Fevent")).body == first.body
    other = await client.post("/v1/products", product(40, title="Chaise", event_id="my/event"))
    assert problem(other) == (409, "conflict")
    key = {"Idempotency-Key": "order 66".replace(" ", "-")}
    keyed = [await client.post("/v1/products", product(41), headers=key) for _ in range(2)]
    assert keyed[0].body == keyed[1].body
    assert await gateway.metric("shelver_gateway_records_sent_total") == sent + 1


async def test_a_dead_letter_is_told_with_its_stage_and_reason(client: HttpClient) -> None:
    answer = await client.post("/v1/products", product(50, title="<p> </p>", event_id="dead"))
    for told in (answer, await client.get("/v1/products/dead")):
        assert problem(told) == (422, "dead-letter")
        assert (told.body["stage"], told.body["reason"]) == ("prepare", "empty_listing")


@contextlib.contextmanager
def standing_still(worker: Worker) -> Iterator[None]:
    """So that nothing is answered meanwhile."""
    assert worker.process is not None
    worker.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.process.send_signal(signal.SIGCONT)


async def test_a_deadline_is_202_and_the_result_is_there_later(client: HttpClient, worker: Worker) -> None:
    with standing_still(worker):
        answer = await client.post("/v1/products?wait=0", product(60))
        assert (await client.get(answer.headers["Location"])).status == 202
    assert answer.status == 202
    assert answer.body["status"] == "pending"
    assert answer.headers["Retry-After"] == "1"
    later = await client.get(answer.headers["Location"], params={"wait": "30"})
    assert (later.status, later.body["assigned"]["product_id"]) == (200, "p-60")
    assert problem(await client.get("/v1/products/never-sent")) == (404, "not-found")


async def test_a_stream_of_events_ends_with_the_result(
    client: HttpClient, gateway: Gateway, worker: Worker
) -> None:
    with standing_still(worker):
        answer = await client.post("/v1/products?wait=0", product(70, explain=True))
        stream = asyncio.create_task(client.events(answer.headers["Location"] + "/events"))
        while await gateway.metric("shelver_gateway_waiters") < 2:
            await asyncio.sleep(0.01)
    events = await stream
    assert [name for name, _ in events][-1] == "explained"
    assert events[-1][1]["explained"]["product_id"] == "p-70"
    await client.post("/v1/products?wait=0", product(71, title="", event_id="dead stream"))
    (failed,) = await client.events("/v1/products/dead%20stream/events")
    assert failed[0] == "failed"
    assert problem(await client.get("/v1/products/never-sent/events")) == (404, "not-found")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{not json", (400, "malformed")),
        (b"[" * 100_000, (400, "malformed")),
        (b'{"product_id": 1, "price": NaN}', (400, "malformed")),
        (b"{}", (422, "invalid")),
        (b'{"products": []}', (422, "invalid")),
        (b'{"products": [%s]}' % b",".join([b"{}"] * 101), (413, "too-large")),
        (b'{"product_id": "1", "image": {"url": "ftp://shop.example/a.jpg"}}', (422, "blocked-address")),
        (
            b'{"product_id": "1", "image": {"url": "https://user:pass@shop.example/a.jpg"}}',
            (422, "blocked-address"),
        ),
        (b'{"product_id": "1", "image": {"url": "https://[::1]/a.jpg"}}', (422, "blocked-address")),
        (b'{"product_id": "1", "image": {"url": "https://169.254.169.254/"}}', (422, "blocked-address")),
        (b'{"product_id": "1", "image": {"data": "PGh0bWw+PC9odG1sPg=="}}', (415, "unsupported-media-type")),
        (b'{"product_id": "1", "image": {"data": "%%%"}}', (422, "invalid")),
    ],
)
async def test_what_cannot_be_sent_is_refused_and_told_why(
    client: HttpClient, body: bytes, told: tuple[int, str]
) -> None:
    headers = {"Content-Type": "application/json"}
    assert problem(await client.post("/v1/products", data=body, headers=headers)) == told


async def test_a_body_without_the_type_of_json_is_refused(client: HttpClient) -> None:
    answer = await client.post("/v1/products", data=b"{}", headers={"Content-Type": "text/plain"})
    assert problem(answer) == (415, "unsupported-media-type")


async def test_sixty_megabytes_are_refused_before_they_are_read(gateway: Gateway) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + bytes(TOO_LARGE)
    for content_type in ("application/json", "multipart/form-data; boundary=x"):
        for declared in (True, False):
            status, body = await asyncio.to_thread(
                _upload, gateway.port, form, content_type, declared=declared
            )
            assert status == 413
            assert body["limit_bytes"] == 10 * 2**20
            assert "10.0 MiB" in body["detail"]


def _upload(port: int, content: bytes, content_type: str, *, declared: bool) -> tuple[int, Any]:
    """Status and body of an upload that is cut off when the answer comes, with or without its length told."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        length = f"Content-Length: {len(content)}" if declared else "Transfer-Encoding: chunked"
        head = (
            "POST /v1/products HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Type: {content_type}",
            length,
            "",
            "",
        )
        connection.sendall("\r\n".join(head).encode())
        try:
            for start in range(0, len(content), 2**20):
                piece = content[start : start + 2**20]
                connection.sendall(piece if declared else b"%x\r\n%b\r\n" % (len(piece), piece))
        except OSError:
            assert start < 20 * 2**20
        told = connection.makefile("rb").read()
    head_told, _, body = told.partition(b"\r\n\r\n")
    return int(head_told.split()[1]), json.loads(body)


async def test_a_restarted_gateway_knows_what_came_before(
    kafka: EmbeddedBroker, topics: Topics, client: HttpClient, repository: Path, tmp_path: Path
) -> None:
    answer = await client.post("/v1/products", product(80))
    with Gateway(kafka.bootstrap, topics, repository, log=tmp_path / "log") as second:
        await second.ready()
        async with HttpClient(second) as other:
            known = await other.get(f"/v1/products/{answer.body['event_id']}")
        assert (known.status, known.body) == (200, answer.body)
        assert await second.stop() == 0


async def test_what_others_publish_is_answered_too(
    kafka: EmbeddedBroker, topics: Topics, client: HttpClient
) -> None:
    body = json.dumps(product(90, event_id=90)).encode()
    await publish(kafka.bootstrap, topics.listed, [(b"p-90", body, []), (b"p-91", b"no JSON", [])])
    answer = await client.get("/v1/products/90?wait=30")
    assert (answer.status, answer.body["assigned"]["product_id"]) == (200, "p-90")


async def test_without_brokers_nothing_is_accepted_and_the_answer_is_quick(
    topic_names: TopicNames, repository: Path, tmp_path: Path
) -> None:
    topics, log = Topics.named(topic_names), tmp_path / "log"
    with EmbeddedBroker(tmp_path / "kafka") as own:
        settings = {"gateway_confirm_seconds": 2}
        with Gateway(own.bootstrap, topics, repository, log=log, **settings) as gateway:
            await gateway.ready()
            async with HttpClient(gateway) as client:
                assert (await client.post("/v1/products?wait=0", product(1))).status == 202
                own.stop()
                for _ in range(3):
                    async with asyncio.timeout(5):
                        answer = await client.post("/v1/products", product(2))
                    assert problem(answer) == (503, "unavailable")
                    assert answer.headers["Retry-After"]
                assert (await client.get("/readyz")).status == 503
                assert (await client.get("/healthz")).status == 200
                own.start()
                await until(client, "/readyz", 200)
                assert (await client.post("/v1/products?wait=0", product(3))).status == 202
            assert await gateway.stop() == 0


async def test_a_question_is_answered_with_an_explanation(client: HttpClient) -> None:
    question = {"product": product(100), "request_id": "why/100"}
    answer = await client.post("/v1/explanations", question)
    assert answer.status == 200, answer
    (explanation,) = answer.body["explained"]["explanations"]
    added = sum(span["attribution"] for span in explanation["text"])
    assert explanation["base_value"] + added == pytest.approx(explanation["value"], abs=1e-3)
    assert (await client.get("/v1/explanations/why%2F100")).body == answer.body
    assert (await client.post("/v1/explanations", question)).body == answer.body
    assert problem(await client.post("/v1/explanations", {"request_id": "r", "event_id": "never"})) == (
        422,
        "dead-letter",
    )
    assert problem(await client.post("/v1/explanations", {})) == (422, "invalid")
    assert problem(await client.get("/v1/explanations/never-asked")) == (404, "not-found")


async def test_an_event_of_before_can_be_explained(client: HttpClient, worker: Worker) -> None:
    sent = await client.post("/v1/products", product(101))
    with standing_still(worker):
        answer = await client.post("/v1/explanations?wait=0", {"event_id": sent.body["event_id"]})
    assert (answer.status, answer.body["status"]) == (202, "pending")
    later = await client.get(answer.headers["Location"], params={"wait": "30"})
    assert later.body["explained"]["event_id"] == sent.body["event_id"]


async def test_categories_and_models_are_told(client: HttpClient) -> None:
    told = (await client.get("/v1/categories")).body
    assert told["model"]["name"] == "demo"
    assert len({each["code"] for each in told["categories"]}) > 5
    models = (await client.get("/v1/models")).body
    assert models["serving"] == "demo@champion"
    (version,) = (each for each in models["versions"] if each["name"] == "demo")
    assert "champion" in version["aliases"]
    detail = (await client.get("/v1/models/demo/versions/champion")).body
    assert detail["card"].startswith("# demo")
    assert "folder" not in detail
    assert problem(await client.get("/v1/models/none/versions/1")) == (404, "not-found")


async def test_an_alias_is_promoted_through_the_gate(client: HttpClient) -> None:
    answer = await client.post("/v1/models/demo/aliases/challenger", {"version": "1"})
    assert (answer.status, answer.body["version"]) == (200, "1"), answer
    assert problem(await client.post("/v1/models/demo/aliases/latest", {"version": "1"})) == (
        404,
        "not-found",
    )
    assert problem(await client.post("/v1/models/demo/aliases/x", {"version": "99"})) == (404, "not-found")
    assert problem(await client.post("/v1/models/demo/aliases/x", {"version": "1/../2"})) == (422, "invalid")


async def test_a_correction_reaches_the_workers(client: HttpClient, worker: Worker) -> None:
    sent = await client.post("/v1/products", product(110))
    code = sent.body["assigned"]["category"]["code"]
    counted = await worker.metric("shelver_corrections_total")
    correction = {"product_id": "p-110", "event_id": sent.body["event_id"], "category": {"code": code}}
    answer = await client.post("/v1/corrections", correction)
    assert (answer.status, answer.body["product_id"]) == (202, "p-110")
    async with asyncio.timeout(60):
        while await worker.metric("shelver_corrections_total") == counted:
            await asyncio.sleep(0.1)
    assert problem(await client.post("/v1/corrections", {"product_id": "1"})) == (422, "invalid")


async def test_live_shows_what_streams_through(client: HttpClient) -> None:
    before = (await client.get("/v1/live")).body
    await client.post("/v1/products", {"products": [product(120), {"product_id": "p-121", "title": " "}]})
    after = (await client.get("/v1/live", params={"since": before["sequence"]})).body
    assert [each["product_id"] for each in after["latest"]] == ["p-120"]
    assert [(each["product_id"], each["reason"]) for each in after["failed"]] == [("p-121", "empty_listing")]
    assert after["assigned"] == before["assigned"] + 1
    assert after["assigned_per_second"] > 0
    assert after["categories"][0]["count"] >= 1
    (shown,) = await client.events(f"/v1/live/events?since={before['sequence']}", most=1)
    assert [each["product_id"] for each in shown[1]["latest"]] == ["p-120"]
    listing = await client.get(f"/v1/products/{after['latest'][0]['event_id']}/listing")
    assert (listing.status, listing.body["title"]) == (200, "Lampe de chevet n° 120")
    listing = await client.get(f"/v1/products/{after['failed'][0]['event_id']}/listing")
    assert (listing.status, listing.body["product_id"]) == (200, "p-121")
    assert problem(await client.get("/v1/products/never-sent/listing")) == (404, "not-found")


async def test_a_training_runs_tells_its_curves_and_can_be_promoted(client: HttpClient) -> None:
    options = {"model": "text", "text.epochs": 2, "data.limit": 200, "name": "tiny", "text": "embedding_bag"}
    answer = await client.post("/v1/training-runs", {"catalogue": "shop", "settings": options})
    assert answer.status == 202, answer
    path = answer.headers["Location"]
    again = await client.post("/v1/training-runs", {"catalogue": "shop"})
    assert problem(again) == (409, "conflict")
    async with asyncio.timeout(200):
        while (run := (await client.get(path)).body)["state"] == "running":
            await asyncio.sleep(0.5)
    assert run["state"] == "succeeded", (run, await client.get(f"{path}/log"))
    assert run["result"]["model"] == "tiny@1"
    assert {fit["name"] for fit in run["fits"]} >= {"text"}
    assert all(fit["done"] and fit["epoch"] == 2 for fit in run["fits"])
    assert any("train/loss" in point for point in run["fits"][0]["metrics"])
    listed = (await client.get("/v1/training-runs")).body
    assert listed["catalogues"] == ["shop"]
    assert listed["runs"][0]["id"] == run["id"]
    promoted = await client.post("/v1/models/tiny/aliases/champion", {"version": "1"})
    assert (promoted.status, promoted.body["version"]) == (200, "1"), promoted
    assert problem(await client.ask("DELETE", path)) == (409, "conflict")


async def test_a_training_is_cancelled(client: HttpClient) -> None:
    answer = await client.post("/v1/training-runs", {"catalogue": "shop"})
    path = answer.headers["Location"]
    ended = await client.ask("DELETE", path)
    assert (ended.status, ended.body["state"]) == (200, "cancelled")
    assert ended.body["exit_code"] < 0
    assert (await client.get(f"{path}/log")).status == 200


def _has_ended(process: psutil.Process) -> bool:
    """Also one that nobody has collected."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


async def test_a_training_ends_with_its_gateway(
    kafka: EmbeddedBroker, topics: Topics, repository: Path, sample_catalogue: Path, tmp_path: Path
) -> None:
    settings = {
        "gateway_catalogues": json.dumps({"shop": str(sample_catalogue)}),
        "gateway_training_dir": tmp_path / "runs",
    }
    with Gateway(kafka.bootstrap, topics, repository, log=tmp_path / "log", **settings) as gateway:
        await gateway.ready()
        assert gateway.process is not None
        async with HttpClient(gateway) as client:
            answer = await client.post("/v1/training-runs", {"catalogue": "shop"})
            below = psutil.Process(gateway.process.pid).children(recursive=True)
            children = [child for child in below if "train" in child.cmdline()]
            stream = asyncio.create_task(client.events("/v1/live/events"))
            await asyncio.sleep(0)
            assert await gateway.stop() == 0
            await asyncio.gather(stream, return_exceptions=True)
    assert children
    assert not [child for child in children if child.is_running() and not _has_ended(child)]
    run = json.loads((tmp_path / "runs" / answer.body["id"] / "run.json").read_bytes())
    assert run["state"] == "interrupted"


@pytest.mark.parametrize(
    "body",
    [
        {"catalogue": "elsewhere"},
        {"catalogue": "shop", "settings": {"data.root": "/etc"}},
        {"catalogue": "shop", "settings": {"name": "a b=c"}},
        {"catalogue": "shop", "settings": {"text": "ngram_bag hydra.run.dir=/tmp"}},
        {"catalogue": "shop", "settings": {"text.epochs": "1,2"}},
        {"catalogue": "shop", "overrides": ["a=b"]},
    ],
)
async def test_a_training_takes_known_settings_only(client: HttpClient, body: dict[str, Any]) -> None:
    assert problem(await client.post("/v1/training-runs", body)) == (422, "invalid")


async def test_the_paths_of_the_original_give_right_answers(client: HttpClient) -> None:
    async with PictureServer(response(saved(plain(), "JPEG"))) as pictures:
        address = pictures.url()
        bodies = {
            "text": {"text": "Lampe de chevet", "evals": 50, "topk": 2},
            "image": {"image_url": address, "evals": 20, "topk": 1},
            "fusion": {"text": "Lampe de chevet", "image_url": address},
        }
        for kind, body in bodies.items():
            answer = await client.post(f"/api/v1/predict/{kind}", body)
            assert (answer.status, answer.body["error"]) == (200, False), answer
            told = [each for each in answer.body["results"] if each is not None]
            assert sum(told) + answer.body["rest"] == pytest.approx(1, abs=1e-5)
            assert len(answer.body["results"]) == len(answer.body["categories"])
            single = await client.get(f"/v1/products/{answer.body['event_id']}")
            best = max(range(len(told)), key=told.__getitem__)
            where = answer.body["results"].index(told[best])
            assert answer.body["categories"][where]["code"] == single.body["assigned"]["category"]["code"]
        explained = await client.post("/api/v1/explain/text", bodies["text"])
        assert len(explained.body["results"]) == 2
        for each in explained.body["results"]:
            assert each["base_value"] + sum(each["values"]) == pytest.approx(each["value"], abs=1e-3)
        explained = await client.post("/api/v1/explain/image", bodies["image"])
        assert explained.status == 200, explained
        for each in explained.body["results"]:
            values = sum(sum(row) for row in each["values"])
            assert each["base_value"] + values == pytest.approx(each["value"], abs=1e-3)


async def test_every_request_that_the_page_shows_is_answered(gateway: Gateway, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "lamp.jpg").write_bytes(saved(plain(), "JPEG"))
    run = "RUN"
    async with PictureServer(response(LAMP_PAGE, Content_Type="text/html")) as shop:
        for shown in shown_requests():
            told = shown.replace("http://127.0.0.1:8000", gateway.url).replace("RUN", run)
            words = shlex.split(told.replace("https://shop.example", shop.url("")))
            said = await _said([*words, "--silent", "--show-error", "--fail-with-body"], tmp_path)
            if "v1/training-runs -H" in shown:
                run = json.loads(said)["id"]


async def _said(words: list[str], folder: Path) -> bytes:
    command = await asyncio.create_subprocess_exec(*words, cwd=folder, stdout=asyncio.subprocess.PIPE)
    said, _ = await command.communicate()
    # 28: the time is over that the page gives a stream without an end.
    assert command.returncode in (0, 28 if "--max-time" in words else 0), (words, said)
    return said


async def test_documents_health_and_metrics(client: HttpClient) -> None:
    document = (await client.get("/openapi.json")).body
    assert document["openapi"] == "3.1.0"
    assert (await client.get("/readyz")).body == {"healthy": True, "brokers": True, "results": True}
    metrics = (await client.get("/metrics")).body.decode()
    assert 'shelver_gateway_requests_total{method="POST",route="/v1/products",status="200"}' in metrics
    assert problem(await client.get("/nowhere")) == (404, "not-found")
    assert problem(await client.get("/v1/products")) == (405, "method-not-allowed")
    assert 'route="other"' in (await client.get("/metrics")).body.decode()
