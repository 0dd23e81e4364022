"""The console in a browser, with a real Kafka, worker and gateway behind it."""

import asyncio
import base64
import csv
import hashlib
import http.client
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from schemas.catalogue import read_catalogue
from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import free_port
from tests.conftest import TopicNames
from tests.e2e.consoles import PATIENCE_MS, Console, browser, visitor
from tests.integration.gateways import Gateway
from tests.integration.workers import Topics, Worker
from tests.picture_server import PUBLIC, PictureServer, allowing, response
from tests.pictures import plain, saved

expect.set_options(timeout=PATIENCE_MS)

SHOP_PAGE = (
    b'<meta property="og:type" content="product"><meta property="og:title" content="Lampe de salon">'
    b'<meta property="og:image" content="/lampe.jpg"><p>Belle.'
)
HOSTILE = "Lampe <img src=x onerror=alert(1)> **gras** $x^2$ :smile: [a](http://evil.example) `code`"


@pytest.fixture(scope="module")
def stack(
    kafka: EmbeddedBroker,
    demo_repository: Path,
    sample_catalogue: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Gateway, Console, Topics]]:
    """Worker, gateway and console, which end with the module."""
    topics = Topics(
        *(f"console.{name}" for name in ("listed", "assigned", "dead", "asked", "explained", "g"))
    )
    folder = tmp_path_factory.mktemp("console")
    # Of their own: versions are trained and promoted here.
    repository = shutil.copytree(demo_repository, folder / "repository")
    settings = {
        **allowing(),
        "shop_page_allow_http": True,
        "shop_page_allowed_networks": json.dumps([f"{PUBLIC}/32"]),
        "gateway_catalogues": json.dumps({"sample": str(sample_catalogue)}),
        "gateway_training_dir": folder / "runs",
        "gateway_training_overrides": '["callbacks=none"]',
    }
    catalogues: dict[str, Any] = {"console_catalogues": json.dumps({"sample": str(sample_catalogue)})}
    with ExitStack() as services:
        worker = Worker(kafka.bootstrap, topics, repository, log=folder / "worker.log", **allowing())
        gateway = Gateway(kafka.bootstrap, topics, repository, log=folder / "gateway.log", **settings)
        console = Console(gateway.url, log=folder / "console.log", **catalogues)
        for each in (worker, gateway, console):
            services.enter_context(each)
        for each in (worker, gateway, console):
            asyncio.run(each.ready())
        yield gateway, console, topics


@pytest.fixture(scope="module")
def chromium(stack: object) -> Iterator[Browser]:
    assert stack
    with browser() as chromium:
        yield chromium


@pytest.fixture
def gateway(stack: tuple[Gateway, Console, Topics]) -> Gateway:
    return stack[0]


@pytest.fixture
def console(stack: tuple[Gateway, Console, Topics]) -> Console:
    return stack[1]


@pytest.fixture
def page(chromium: Browser, console: Console) -> Iterator[Page]:
    with visitor(chromium, console.url) as page:
        yield page


def metric(gateway: Gateway, name: str) -> float:
    """Playwright has an event loop in this thread, so this goes to another."""
    return float(apart(gateway.metric(name)))


def num_asked(gateway: Gateway) -> float:
    """Requests that the gateway was sent, but for those of this test."""
    lines = gateway.get("/metrics")[1].splitlines()
    counts = (line for line in lines if line.startswith("shelver_gateway_requests_total{"))
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts if '"/metrics"' not in line)


def apart(coroutine: Any) -> Any:
    found: list[Any] = []
    thread = Thread(target=lambda: found.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return found[0]


@contextmanager
def pages_of_a_shop() -> Iterator[PictureServer]:
    """A shop with one product, served from a loop in a thread of its own."""

    async def respond(path: str, writer: asyncio.StreamWriter) -> None:
        is_picture = path.endswith(".jpg")
        kind = "image/jpeg" if is_picture else "text/html"
        writer.write(response(saved(plain(), "JPEG") if is_picture else SHOP_PAGE, Content_Type=kind))

    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    server = PictureServer(respond)
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield server
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def fill(page: Page, title: str, *, description: str = "", picture: Path | None = None) -> None:
    page.get_by_label("Title", exact=True).fill(title)
    page.get_by_label("Description", exact=True).fill(description)
    if picture is not None:
        page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(picture)
        expect(page.get_by_role("button", name=f"Remove {picture.name}")).to_be_visible()


def classify(page: Page, title: str, **more: Any) -> Locator:
    """Fill the form in, send it, and give the heading with the category."""
    fill(page, title, **more)
    page.get_by_role("button", name="Classify").click()
    heading = page.get_by_test_id("stHtml").get_by_role("heading").first
    expect(heading).to_be_visible()
    return heading


def settled(page: Page) -> None:
    expect(page.locator("[data-test-script-state=notRunning]")).to_have_count(1)


def turn_to(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    # What stood on the page before is there until this one is drawn.
    settled(page)


def choose(page: Page, label: str, option: str) -> None:
    box = page.get_by_role("combobox", name=label, exact=True)
    choice = page.get_by_role("option", name=option)
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    # A list closes when what is around it moves, as it does while the page is being drawn.
    while not choice.is_visible():
        assert time.monotonic() < deadline, f"{label} does not offer {option}"
        settled(page)
        box.press("ArrowDown")
        page.wait_for_timeout(200)
    choice.click()


def a_picture(folder: Path, name: str = "lampe.jpg") -> Path:
    path = folder / name
    path.write_bytes(saved(plain(), "JPEG"))
    return path


def test_a_product_is_classified_explained_and_corrected(
    page: Page, gateway: Gateway, tmp_path: Path
) -> None:
    heading = classify(page, "Lampe de chevet en bois", description="Une lampe.", picture=a_picture(tmp_path))
    expect(heading).to_have_text(re.compile(r".+ \(\d+\)"))
    expect(page.get_by_role("table", name="Probability of each category").get_by_role("row")).to_have_count(5)
    expect(page.get_by_text("The text was read. The picture was looked at.")).to_be_visible()

    sent = metric(gateway, "shelver_gateway_records_sent_total")
    asked = num_asked(gateway)
    page.get_by_text("Pixels of the picture").click()
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_label("Title", exact=True).fill("Another title")
    page.get_by_label("Title", exact=True).press("Tab")
    page.get_by_text("Fill in from the page of a shop").click()
    expect(page.get_by_label("Address of the product's page")).to_be_visible()
    assert metric(gateway, "shelver_gateway_records_sent_total") == sent
    assert num_asked(gateway) == asked

    page.get_by_role("button", name="Explain").click()
    explanation = page.locator(".explanation")
    expect(explanation.locator("figure i").first).to_be_visible()
    expect(explanation.locator("p.field").first).to_contain_text("Lampe de chevet en bois")
    expect(explanation.get_by_text("evaluations", exact=False)).to_be_visible()
    for modality in ("text", "picture", "logit"):
        expect(explanation.get_by_role("cell", name=modality, exact=True)).to_be_visible()
    assert metric(gateway, "shelver_gateway_records_sent_total") == sent + 1

    choose(page, "Say what it is", "Cups and mugs (30)")
    page.get_by_role("button", name="Send the correction").click()
    expect(page.get_by_text("Thank you; the correction is in Kafka")).to_be_visible()
    assert metric(gateway, "shelver_gateway_records_sent_total") == sent + 2


def test_a_product_is_filled_in_from_the_page_of_a_shop(page: Page) -> None:
    with pages_of_a_shop() as shop:
        page.get_by_text("Fill in from the page of a shop").click()
        address = page.get_by_label("Address of the product's page")
        read = page.get_by_role("button", name="Read the page")
        address.fill("https://10.0.0.1/lampe")
        read.click()
        expect(page.get_by_text("This address may not be fetched")).to_be_visible()
        address.fill(shop.url("/lampe"))
        read.click()
        expect(page.get_by_label("Title", exact=True)).to_have_value("Lampe de salon")
        expect(page.get_by_label("or the address of a picture")).to_have_value(shop.url("/lampe.jpg"))
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_text("The picture was looked at")).to_be_visible()
        page.get_by_role("button", name="Explain").click()
        expect(page.locator(".explanation figure i").first).to_be_visible()


def test_hostile_text_is_shown_as_it_is(page: Page) -> None:
    dialogs: list[object] = []

    def note(dialog: object) -> None:
        dialogs.append(dialog)

    page.on("dialog", note)
    classify(page, HOSTILE, description=HOSTILE)
    page.get_by_role("button", name="Explain").click()
    field = page.locator(".explanation p.field").first
    expect(field).to_contain_text(HOSTILE)
    turn_to(page, "Live")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.get_by_role("link", name="a", exact=True).count() == 0
    assert not dialogs


def test_two_visitors_at_once_see_their_own_results(
    chromium: Browser, console: Console, tmp_path: Path
) -> None:
    with visitor(chromium, console.url) as one, visitor(chromium, console.url) as other:
        fill(one, "Livre de cuisine", picture=a_picture(tmp_path, "un.jpg"))
        fill(other, "Lampe de chevet")
        for page in (one, other):
            page.get_by_role("button", name="Classify").click()
        for page in (one, other):
            expect(page.get_by_role("button", name="Explain")).to_be_visible()
            page.get_by_role("button", name="Explain").click()
        expect(one.locator(".explanation p.field").first).to_contain_text("Livre de cuisine")
        expect(other.locator(".explanation p.field").first).to_contain_text("Lampe de chevet")
        assert one.get_by_text("The picture was looked at").count() == 1
        assert other.get_by_text("There was no picture").count() == 1
        assert "Lampe de chevet" not in one.locator("body").inner_text()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<html>no picture</html>", "This kind of file is not read"),
        (saved(plain(), "JPEG")[:200], "Something is not as it should be"),
        (b"", "Something is not as it should be"),
    ],
)
def test_files_that_are_no_pictures_are_refused(
    page: Page, tmp_path: Path, content: bytes, told: str
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    fill(page, "Lampe", picture=path)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text(told)).to_be_visible()


def test_uploads_beyond_the_limit_are_refused_with_the_limit(page: Page, tmp_path: Path) -> None:
    expect(page.get_by_text("at most 7 MB")).to_be_visible()
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(60 * 2**20))
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(large)
    expect(page.get_by_text("File must be 7.0MB or smaller")).to_be_visible()


@pytest.mark.parametrize("address", ["https://10.0.0.1/a.jpg", "ftp://shop.example/a.jpg", "https://[::1]/"])
def test_private_addresses_are_refused(page: Page, address: str) -> None:
    page.get_by_label("or the address of a picture").fill(address)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("This address may not be fetched")).to_be_visible()


def test_nothing_to_classify_is_not_sent(page: Page, gateway: Gateway) -> None:
    sent = metric(gateway, "shelver_gateway_records_sent_total")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("There is nothing to classify")).to_be_visible()
    fill(page, "<br>")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("The product cannot be classified")).to_be_visible()
    expect(page.get_by_text("Reason: empty_listing at the stage prepare")).to_be_visible()
    assert metric(gateway, "shelver_gateway_records_sent_total") == sent + 1


@pytest.mark.parametrize(
    ("name", "origin", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1", 101),
        ("evil.example", "http://evil.example", 403),
        ("127.0.0.1", "http://evil.example", 403),
    ],
)
def test_pages_of_others_get_no_connection(console: Console, name: str, origin: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=60)
    headers = {
        "Host": name,
        "Origin": origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    connection.request("GET", "/_stcore/stream", headers=headers)
    assert connection.getresponse().status == status
    connection.close()
    # Whose page it is nobody on the internet is asked.
    assert "external IP" not in console.log.read_text(encoding="utf-8")


def test_the_keyboard_is_enough(page: Page) -> None:
    title = page.get_by_label("Title", exact=True)
    title.focus()
    page.keyboard.type("Lampe de bureau")
    page.keyboard.press("Enter")
    explain = page.get_by_role("button", name="Explain")
    expect(explain).to_be_visible()
    explain.focus()
    page.keyboard.press("Enter")
    word = page.locator(".explanation p.field span").first
    word.focus()
    expect(word).to_be_focused()


def test_what_streams_through_is_shown_live(
    page: Page, chromium: Browser, console: Console, tmp_path: Path
) -> None:
    turn_to(page, "Live")
    with visitor(chromium, console.url) as other:
        classify(other, "Chaise en direct", picture=a_picture(tmp_path))
    expect(page.get_by_text("Chaise en direct")).to_be_visible()
    expect(page.get_by_role("img", name="The picture of the product").first).to_be_visible()
    expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()

    page.get_by_text("Pause").click()
    expect(page.get_by_role("switch")).to_be_checked()
    with visitor(chromium, console.url) as other:
        classify(other, "Chaise pendant la pause")
        # The other visitor's page follows, so it is known to be there.
        turn_to(other, "Live")
        expect(other.get_by_text("Chaise pendant la pause")).to_be_visible()
    assert page.get_by_text("Chaise pendant la pause").count() == 0
    page.get_by_text("Pause").click()
    expect(page.get_by_text("Chaise pendant la pause")).to_be_visible()


def test_a_file_is_predicted_and_scored(page: Page, tmp_path: Path, sample_catalogue: Path) -> None:
    rows = [row for row in read_catalogue(sample_catalogue) if row.title][:80]
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("productid", "designation", "description", "prdtypecode"))
        writer.writerows((row.product_id, row.title, row.description, row.category) for row in rows)
        writer.writerow(("empty", "", "", ""))
    turn_to(page, "Test set")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(path)
    expect(page.get_by_text("81 rows. 80 of them have a category")).to_be_visible()
    page.get_by_role("tab", name="All rows").click()
    page.get_by_role("button", name="Predict them all").click()
    expect(page.get_by_text("81 of 81 rows")).to_be_visible()
    expect(page.get_by_text("80 have a category, 1 cannot be classified.")).to_be_visible()
    expect(page.get_by_text("Weighted F1")).to_be_visible()
    expect(page.get_by_text("Rows compared")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the results").click()
    lines = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [line["product_id"] for line in lines] == [*(row.product_id for row in rows), "empty"]
    assert lines[-1]["status"] == "failed"
    assert lines[-1]["problem"] == "empty_listing"
    right = sum(line["category"] == line["true_category"] for line in lines[:-1])
    expect(page.get_by_text(f"{right / 80:.1%}")).to_be_visible()


def test_a_row_of_a_catalogue_is_predicted(page: Page) -> None:
    turn_to(page, "Test set")
    page.get_by_text("sample", exact=True).click()
    page.get_by_label(re.compile(r"Row, 1 to \d+")).fill("3")
    page.get_by_role("button", name="Predict this row").click()
    expect(page.get_by_role("table", name="Probability of each category")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Its category is \d+\."))).to_be_visible()


def test_a_file_that_cannot_be_read_is_told(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("title,image\nLampe,../../etc/passwd\n", encoding="utf-8")
    turn_to(page, "Test set")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(path)
    expect(page.get_by_text("The rows cannot be read")).to_be_visible()
    expect(page.get_by_text("the file", exact=False).first).to_be_visible()


def test_a_training_is_started_followed_and_promoted(page: Page) -> None:
    turn_to(page, "Models")
    expect(page.get_by_text("The workers are to serve demo@champion.")).to_be_visible()
    page.get_by_role("tab", name="Training").click()
    choose(page, "What is trained", "Text alone")
    page.get_by_label("Passes over the texts").fill("1")
    page.get_by_label("Most rows, 0 for all").fill("200")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("button", name="Cancel the training")).to_be_visible()
    expect(page.get_by_text("Succeeded")).to_be_visible(timeout=240_000)
    expect(page.get_by_text(re.compile("^text: pass 1"))).to_be_visible()

    page.get_by_role("tab", name="Versions").click()
    choose(page, "Version", "demo@2")
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("To promote it all the same")).to_be_visible()
    page.get_by_test_id("stCheckbox").get_by_text("Even if it scores worse").click()
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("demo@champion means version 2 now, 1 before.")).to_be_visible()
    page.get_by_text("Model card").click()
    expect(page.get_by_role("heading", name=re.compile("demo"))).to_be_visible()


def test_a_training_can_be_cancelled(page: Page) -> None:
    turn_to(page, "Models")
    page.get_by_role("tab", name="Training").click()
    name = page.get_by_label("Name of the model")
    expect(page.get_by_text("Start a training")).to_be_visible()
    if not name.is_visible():
        page.get_by_text("Start a training").click()
    name.fill("other")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("button", name="Cancel the training").click()
    expect(page.get_by_text("It has made no version.")).to_be_visible()


def test_pages_fit_a_phone_and_follow_dark_mode(chromium: Browser, console: Console) -> None:
    phone: Any = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}
    for path in ("", "/live", "/test-set", "/models"):
        with visitor(chromium, console.url + path, **phone) as page:
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            main = page.get_by_test_id("stMain")
            assert main.evaluate("element => element.scrollWidth <= element.clientWidth"), path
            background = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
            assert max(int(part) for part in re.findall(r"\d+", background)[:3]) < 64


def test_what_no_worker_answers_is_kept_until_one_does(
    chromium: Browser, kafka: EmbeddedBroker, demo_repository: Path, topic_names: TopicNames, tmp_path: Path
) -> None:
    topics = Topics.named(topic_names)
    settings = {"gateway_deadline_seconds": 1}
    with (
        Gateway(kafka.bootstrap, topics, demo_repository, log=tmp_path / "gateway", **settings) as gateway,
        Console(gateway.url, log=tmp_path / "console") as console,
    ):
        for each in (gateway, console):
            apart(each.ready())
        with visitor(chromium, console.url) as page:
            fill(page, "Lampe de chevet")
            page.get_by_role("button", name="Classify").click()
            expect(page.get_by_text("no worker has answered within 1 s")).to_be_visible()
            page.get_by_role("button", name="Ask again").click()
            expect(page.get_by_text("no worker has answered within 1 s")).to_be_visible()
            with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker") as worker:
                apart(worker.ready())
                apart(worker.has_counted())
                page.get_by_role("button", name="Ask again").click()
                expect(page.get_by_role("table", name="Probability of each category")).to_be_visible()


def test_a_visitor_may_have_a_key_of_their_own(
    chromium: Browser, kafka: EmbeddedBroker, demo_repository: Path, topic_names: TopicNames, tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"read-only").hexdigest()
    keys = json.dumps([{"name": "visitor", "sha256": digest, "roles": ["read"]}])
    settings = {"gateway_api_keys": keys}
    topics = Topics.named(topic_names)
    with (
        Gateway(kafka.bootstrap, topics, demo_repository, log=tmp_path / "gateway", **settings) as gateway,
        Console(gateway.url, log=tmp_path / "console") as console,
    ):
        for each in (gateway, console):
            apart(each.ready())
        with visitor(chromium, console.url) as one, visitor(chromium, console.url) as other:
            expect(one.get_by_text("The gateway wants an API key")).to_be_visible()
            one.get_by_test_id("stExpandSidebarButton").click()
            one.get_by_test_id("stSidebar").get_by_text("API key").click()
            one.get_by_label("Your key", exact=True).fill("read-only")
            one.get_by_label("Your key", exact=True).press("Enter")
            fill(one, "Lampe de chevet")
            one.get_by_role("button", name="Classify").click()
            expect(one.get_by_text("The key does not allow this")).to_be_visible()
            other.reload()
            expect(other.get_by_text("The gateway wants an API key")).to_be_visible()
        assert "read-only" not in console.log.read_text(encoding="utf-8")


def test_without_a_gateway_every_page_says_what_to_do(chromium: Browser, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with Console(nowhere, log=tmp_path / "log", opens=True) as console:
        apart(console.ready())
        for path in ("", "/live", "/test-set", "/models"):
            with visitor(chromium, console.url + path) as page:
                expect(page.get_by_text("The gateway does not answer").first).to_be_visible()
                expect(page.get_by_text(nowhere).first).to_be_visible()
        assert apart(console.stop()) == 0
    assert f"shown {console.url}" in console.log.read_text(encoding="utf-8")
