"""A listing whose text is certain is answered as if it had no picture, and all others as ever."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.cascade import Cascade
from models.runtime import Classifier
from schemas.assignments import CategoryAssigned, ImageUse
from stream_app.assigning import assignments
from stream_app.cascading import texts_of, without_certain_pictures
from stream_app.inference import score_listings
from stream_app.preparing import decode_records, picture_urls, prepare_listings
from stream_app.stages import Decoded, Scored
from tests.tiny_models import TINY_KINDS, picture, write_tiny_bundle
from tests.unit.stream_app.records import PlainRecord

TITLES = ["Lampe", "Livre bleu", "Robot de piscine", "Tapis rouge", "Chaise", "Table basse", "Jeu", "Vase"]
IMAGE = {"data": base64.b64encode(picture()).decode()}


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    write_tiny_bundle(tmp_path / "tiny" / "1")
    return Classifier.load(tmp_path / "tiny" / "1", kinds=TINY_KINDS)


def batch(image: dict[str, str] | None, **fields: Any) -> Decoded:
    """The titles, in two partitions with the same offsets."""
    bodies = [{"product_id": title, "title": title, "image": image, **fields} for title in TITLES]
    return decode_records(
        [
            PlainRecord(partition=number % 2, offset=number // 2, value=json.dumps(body).encode())
            for number, body in enumerate(bodies)
        ],
        max_bytes=2**20,
    )


def scored(classifier: Classifier, decoded: Decoded) -> Scored:
    return score_listings(prepare_listings(decoded, classifier, {}), classifier)


def cascaded(classifier: Classifier, decoded: Decoded, threshold: float) -> Decoded:
    texts = scored(classifier, texts_of(decoded))
    return without_certain_pictures(decoded, texts, Cascade(max_loss=0.002, threshold=threshold))


def messages(result: Scored) -> list[CategoryAssigned]:
    return list(assignments(result, datetime.now(UTC)))


def confidences(classifier: Classifier) -> list[float]:
    return [each.category.probability for each in messages(scored(classifier, batch(None)))]


@pytest.mark.parametrize("num_certain", [0, 1, 3, len(TITLES)])
def test_scores_are_those_without_a_picture_where_the_text_is_certain_and_those_with_it_elsewhere(
    classifier: Classifier, num_certain: int
) -> None:
    sure = confidences(classifier)
    threshold = sorted([*sure, 1.0])[len(sure) - num_certain]
    certain_B = np.array([each >= threshold for each in sure])
    alone, both = scored(classifier, batch(None)), scored(classifier, batch(IMAGE))
    result = scored(classifier, cascaded(classifier, batch(IMAGE), threshold))
    assert alone.scores is not None
    assert both.scores is not None
    assert result.scores is not None
    expected_BC = np.where(certain_B[:, None], alone.scores.logits_BC, both.scores.logits_BC)
    np.testing.assert_allclose(result.scores.logits_BC, expected_BC, rtol=0, atol=1e-5)
    assert certain_B.sum() == num_certain
    answers = messages(result)
    assert [each.product_id for each in answers] == TITLES
    used = [ImageUse.SKIPPED if certain else ImageUse.USED for certain in certain_B]
    assert [each.modalities.image for each in answers] == used


def test_a_skipped_picture_is_neither_fetched_nor_looked_at(classifier: Classifier) -> None:
    by_address = batch({"url": "https://shop.example/1.jpg"})
    assert picture_urls(by_address)
    assert not picture_urls(cascaded(classifier, by_address, 0.0))
    broken = scored(classifier, cascaded(classifier, batch({"data": "@"}), 0.0))
    for answer in messages(broken):
        assert (answer.modalities.image, answer.image_reason) == (ImageUse.SKIPPED, None)


def test_listings_without_picture_without_text_or_to_be_explained_are_left_as_they_are(
    classifier: Classifier,
) -> None:
    for decoded in (batch(None), batch(IMAGE, explain=True)):
        assert not texts_of(decoded).listings
        assert cascaded(classifier, decoded, 0.0).listings == decoded.listings
    answers = messages(scored(classifier, cascaded(classifier, batch(IMAGE, title="le"), 0.0)))
    assert {each.modalities.image for each in answers} == {ImageUse.USED}


def test_what_the_model_cannot_say_of_a_text_is_not_certain(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = batch(IMAGE)
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "prepare_to_score", lambda *_: 1 / 0)
        left = cascaded(classifier, decoded, 0.0)
    assert left.listings == decoded.listings
