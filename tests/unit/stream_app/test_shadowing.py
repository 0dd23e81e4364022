"""A challenger scores a share of what was published; nothing waits for it, and nothing of it goes out."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.runtime import Classifier
from stream_app import shadowing
from stream_app.inference import LoadedVersion, score_listings
from stream_app.metrics import ServiceMetrics
from stream_app.preparing import Picture, decode_records, prepare_listings
from stream_app.settings import ShadowSettings
from stream_app.shadowing import Shadow, chosen, compare, in_share
from stream_app.stages import Scored
from tests.tiny_models import TINY_KINDS, picture, write_tiny_bundle
from tests.unit.stream_app.records import PlainRecord

URL = "https://shop.example/1"
PICTURES: dict[str, Picture] = {URL: picture((9, 200, 9))}


def version(folder: Path, number: int) -> LoadedVersion:
    write_tiny_bundle(folder / "tiny" / str(number), version=str(number), seed=number)
    return LoadedVersion(Classifier.load(folder / "tiny" / str(number), kinds=TINY_KINDS))


@pytest.fixture
def champion(tmp_path: Path) -> LoadedVersion:
    return version(tmp_path, 1)


@pytest.fixture
def challenger(tmp_path: Path) -> LoadedVersion:
    return version(tmp_path, 2)


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


@pytest.fixture
def shadow(metrics: ServiceMetrics) -> Iterator[Shadow]:
    shadow = Shadow(ShadowSettings(shadow_model="tiny@2", shadow_share=1), metrics)
    yield shadow
    shadow.stop()


def published(served: LoadedVersion, num_listings: int = 12) -> Scored:
    """Listings with text, with a picture inline, with one by address, and with both."""
    images: list[Any] = [None, {"data": base64.b64encode(picture()).decode()}, {"url": URL}]
    bodies = [
        {"product_id": str(number), "title": f"Lampe {number}", "image": images[number % 3]}
        for number in range(num_listings)
    ]
    decoded = decode_records(
        [PlainRecord(offset=offset, value=json.dumps(body).encode()) for offset, body in enumerate(bodies)],
        max_bytes=2**20,
    )
    return score_listings(prepare_listings(decoded, served.classifier, PICTURES), served.classifier)


def events(metrics: ServiceMetrics) -> dict[str, float]:
    """Those of the challenger, by outcome."""
    name = "shelver_shadow_events_total"
    found = [sample for metric in metrics.registry.collect() for sample in metric.samples]
    return {each.labels["outcome"]: each.value for each in found if each.name == name}


async def until_settled(shadow: Shadow, metrics: ServiceMetrics, num_events: int) -> dict[str, float]:
    running = asyncio.create_task(shadow.run())
    async with asyncio.timeout(60):
        while sum(events(metrics).values()) < num_events:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})
    return events(metrics)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_the_products_of_a_smaller_one(product: str, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert in_share(product, larger) or not in_share(product, smaller)
    assert in_share(product, 1)
    assert not in_share(product, 0)


def test_a_share_is_as_large_as_it_says() -> None:
    num_chosen = sum(in_share(str(number), 0.1) for number in range(20_000))
    assert 1_800 < num_chosen < 2_200


def test_a_version_agrees_with_itself_on_texts_and_pictures(champion: LoadedVersion) -> None:
    scored = published(champion)
    offered = chosen(scored, PICTURES, 1)
    assert offered is not None
    assert set(offered.pictures) == {URL}
    found = compare(offered, champion)
    assert (found.num_same, found.num_failed) == (12, 0)
    assert np.abs(found.confidence_differences).max() < 1e-5


def test_a_challenger_is_compared_by_code_and_confidence(
    champion: LoadedVersion, challenger: LoadedVersion
) -> None:
    before, after = published(champion), published(challenger)
    assert before.scores is not None
    assert after.scores is not None
    offered = chosen(before, PICTURES, 1)
    assert offered is not None
    found = compare(offered, challenger)
    best_before = before.scores.probabilities_BC.argmax(axis=1)
    best_after = after.scores.probabilities_BC.argmax(axis=1)
    assert 0 < (best_before == best_after).sum() < 12
    assert found.num_same == (best_before == best_after).sum()
    expected = after.scores.probabilities_BC.max(axis=1) - before.scores.probabilities_BC.max(axis=1)
    assert np.allclose(found.confidence_differences, expected, atol=1e-5)


async def test_what_a_challenger_makes_of_events_is_counted(
    champion: LoadedVersion, challenger: LoadedVersion, shadow: Shadow, metrics: ServiceMetrics
) -> None:
    shadow.offer(published(champion), PICTURES)
    assert sum(events(metrics).values()) == 0  # nothing to compare with yet
    shadow.take(challenger)
    shadow.offer(published(champion), PICTURES)
    found = await until_settled(shadow, metrics, 12)
    assert found["same"] > 0
    assert found["different"] > 0
    assert found["dropped"] == found["failed"] == 0


async def test_what_it_has_no_time_for_is_dropped(
    champion: LoadedVersion,
    shadow: Shadow,
    metrics: ServiceMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shadow.take(champion)
    scored = published(champion)
    for _ in range(30):
        shadow.offer(scored, PICTURES)
    assert events(metrics)["dropped"] == 30 * 12 - 252
    found = await until_settled(shadow, metrics, 30 * 12)
    assert found["same"] == 252
    shadow.offer(scored, PICTURES)
    monkeypatch.setattr(shadowing, "MAX_WAITING_BYTES", 10)
    shadow.offer(scored, PICTURES)
    assert (await until_settled(shadow, metrics, 32 * 12))["dropped"] == 31 * 12 - 252


class PanicException(BaseException):
    """What a library in Rust raises when it panics."""


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: device-side assert triggered"), PanicException()]
)
async def test_a_challenger_that_fails_harms_nobody(
    champion: LoadedVersion,
    shadow: Shadow,
    metrics: ServiceMetrics,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    shadow.take(champion)
    with monkeypatch.context() as patch:
        patch.setattr(shadowing, "score_listings", fail)
        shadow.offer(published(champion), PICTURES)
        assert (await until_settled(shadow, metrics, 12))["failed"] == 12
    shadow.offer(published(champion), PICTURES)
    assert (await until_settled(shadow, metrics, 24))["same"] == 12
