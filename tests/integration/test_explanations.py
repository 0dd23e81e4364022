"""Explanations through Kafka: asked for with a product, with an event, or by a listing itself."""

import asyncio
import base64
import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import CatalogueRow, read_catalogue
from schemas.explanations import explanation_request_id
from stream_app.assigning import LISTING_PLACE_HEADER
from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.explanations import Explanations, product, request
from tests.integration.workers import Sent, Topics, Worker, listing, publish

NOWHERE = ("999-0", "0-999999999999999999", "9999999999-0", "0-" + "9" * 5_000)
"""Partitions and offsets that there are not, as anybody may write them into a header."""


def _pointing(number: int, place: str) -> Sent:
    key, value, _ = request(number, event_id=f"pointing-{number}")
    return key, value, [(LISTING_PLACE_HEADER, place.encode())]


@pytest.fixture
async def topics(topic_names: TopicNames, create_topics: CreateTopics) -> Topics:
    named = Topics.named(topic_names)
    await create_topics(named.listed, named.assigned, named.dead, named.requested, named.explained)
    return named


@pytest.fixture(scope="module")
def classifier(demo_repository: Path) -> Classifier:
    return Classifier.load(ModelRepository(demo_repository).resolve("demo@champion").folder)


async def test_requests_are_answered_or_told_why_not(
    kafka: EmbeddedBroker, topics: Topics, demo_repository: Path, classifier: Classifier, tmp_path: Path
) -> None:
    code = classifier.labels.codes[3]
    requests: list[Sent] = [
        request(0, product=product("Lampe de chevet", description="<p>Été &amp; hiver</p>")),
        request(1, product=product("Lampe de chevet"), categories=[code, classifier.labels.codes[0]]),
        request(2, product=product("Lampe de chevet"), categories=["nowhere"]),
        request(3, event_id="never-listed"),
        request(4, product=product(" <br/> ")),
        (b"5", b"{not json", []),
        request(6),
        (b"7", None, []),
        request(8, event_id="e-1"),
        *(request(number, product=product("Lampe de chevet")) for number in range(10, 20)),
        *(_pointing(number, f"{topics.listed}-{place}") for number, place in enumerate(NOWHERE, 20)),
    ]
    async with Explanations(kafka.bootstrap, topics) as out:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "log") as worker:
            await publish(kafka.bootstrap, topics.listed, [listing(1), listing(2, explain=True)])
            await worker.ready()
            await out.until(1)
            await publish(kafka.bootstrap, topics.requested, requests)
            await out.until(14, 5 + len(NOWHERE))
            await worker.has_counted()
            assert await worker.metric("shelver_explained_total") == 14
            assert await worker.metric("shelver_explanations_shared_total") >= 1
            assert await worker.stop() == 0
    dead = {(value[:40], reason) for value, reason, _ in out.dead}
    assert (
        dead
        == {
            (requests[2][1][:40], "unknown_category"),  # type: ignore[index]
            (requests[3][1][:40], "unknown_event"),  # type: ignore[index]
            (requests[4][1][:40], "empty_listing"),  # type: ignore[index]
            (b"{not json", "malformed"),
            (requests[6][1], "invalid"),
            *((value[:40], "unknown_event") for _, value, _ in requests[-len(NOWHERE) :] if value),
        }
    )
    (first,) = out.answers["r-0"]
    assert first.product_id == "p-1"
    assert out.keys["r-0"] == b"p-1"
    assert first.event_id == "r-0"
    assert (first.model.name, first.model.version) == (classifier.name, classifier.version)
    assert [span.text for span in first.explanations[0].text][-2:] == ["&amp;", "hiver"]
    (second,) = out.answers["r-1"]
    assert [each.category.code for each in second.explanations] == [code, classifier.labels.codes[0]]
    (of_event,) = out.answers["r-8"]
    assert (of_event.event_id, of_event.product_id) == ("e-1", "1")
    (of_listing,) = out.answers[explanation_request_id("e-2")]
    assert (of_listing.event_id, of_listing.product_id) == ("e-2", "2")
    for answers in out.answers.values():
        assert all(answer.additivity_error < 1e-4 for answer in answers)


async def test_listings_of_before_a_restart_are_still_known(
    kafka: EmbeddedBroker, topics: Topics, demo_repository: Path, tmp_path: Path
) -> None:
    async with Explanations(kafka.bootstrap, topics) as out:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "log") as worker:
            await publish(kafka.bootstrap, topics.listed, [listing(number) for number in range(50)])
            await worker.ready()
            while await worker.metric("shelver_assigned_total") < 50:
                await asyncio.sleep(0.1)
            assert await worker.stop() == 0
        with Worker(
            kafka.bootstrap, topics, demo_repository, log=tmp_path / "log2", explain_recent_listings=40
        ):
            asked = [request(number, event_id=f"e-{number}") for number in range(50)]
            await publish(kafka.bootstrap, topics.requested, asked)
            await out.until(40, 10)
    assert {reason for _, reason, _ in out.dead} == {"unknown_event"}
    assert set(out.answers) == {f"r-{number}" for number in range(10, 50)}


def only_the_picture_decides(catalogue: Path) -> list[tuple[CatalogueRow, str]]:
    """Rows held out with a title that every category shares, and the half that the object is on."""
    with (catalogue / "rows.csv").open() as file:
        facts = list(csv.DictReader(file))
    return [
        (row, fact["side"])
        for row, fact in zip(read_catalogue(catalogue), facts, strict=False)  # pseudo-labelled rows come last
        if fact["kind"] == "picture" and row.split == "val" and row.image_path is not None
    ]


def turned(data: bytes) -> bytes:
    """The same picture stored on its side, with the orientation that puts it right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").transpose(Image.Transpose.ROTATE_90).save(
        file, "JPEG", quality=95, exif=exif
    )
    return file.getvalue()


def as_listings(rows: Iterable[tuple[CatalogueRow, str]], kind: str, *, exif: bool) -> list[Sent]:
    sent: list[Sent] = []
    for number, (row, _) in enumerate(rows):
        assert row.image_path is not None
        data = row.image_path.read_bytes()
        body: dict[str, Any] = {
            "event_id": f"{kind}-{number}",
            "product_id": f"{kind}-{number}",
            "title": row.title,
            "image": {"data": base64.b64encode(turned(data) if exif else data).decode()},
            "explain": True,
        }
        sent.append((body["product_id"].encode(), json.dumps(body).encode(), []))
    return sent


async def test_where_only_the_picture_decides_its_half_with_the_object_is_shown_also_of_one_on_its_side(
    kafka: EmbeddedBroker, topics: Topics, sample_catalogue: Path, demo_repository: Path, tmp_path: Path
) -> None:
    rows = only_the_picture_decides(sample_catalogue)
    assert len(rows) >= 10
    upright, on_its_side = as_listings(rows, "upright", exif=False), as_listings(rows, "turned", exif=True)
    await publish(kafka.bootstrap, topics.listed, [*upright, *on_its_side])
    async with Explanations(kafka.bootstrap, topics) as out:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "log"):
            await out.until(2 * len(rows))
    assert not out.dead
    for kind in ("upright", "turned"):
        assert_the_half_with_the_object_is_shown(out, rows, kind)


def assert_the_half_with_the_object_is_shown(
    out: Explanations, rows: Iterable[tuple[CatalogueRow, str]], kind: str
) -> None:
    larger, on_the_side = [], []
    for number, (row, side) in enumerate(rows):
        (answer,) = out.answers[explanation_request_id(f"{kind}-{number}")]
        (explanation,) = answer.explanations
        assert explanation.image is not None
        assert (explanation.image.width, explanation.image.height) == (240, 240)
        if str(explanation.category.code) != row.category:
            continue  # here the picture did not decide
        larger.append(explanation.by_modality.image > explanation.by_modality.text)
        left, right = np.hsplit(np.array(explanation.image.attributions), 2)
        on_the_side.append((right.sum() > left.sum()) == (side == "right"))
    assert len(larger) >= 8
    assert np.mean(larger) > 0.9
    assert np.mean(on_the_side) > 0.8, on_the_side
