"""From requests to answers without a broker: what is shared, what falls out alone, what is not trusted."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from models.explain.product import ProductExplainer
from models.runtime import Classifier
from schemas.errors import UnknownCategoryError, UnknownEventError
from stream_app.assigning import LISTING_PLACE_HEADER, explanation_requests
from stream_app.dead_letters import failure_of
from stream_app.explanation_requests import (
    Answered,
    answer,
    decode_questions,
    outgoing_answers,
    with_listings,
)
from stream_app.inference import score_listings
from stream_app.preparing import decode_records, prepare_listings
from tests.tiny_models import TINY_KINDS, write_tiny_bundle
from tests.unit.stream_app.records import PlainRecord

MAX_BYTES = 2**20


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    write_tiny_bundle(tmp_path / "tiny" / "1")
    return Classifier.load(tmp_path / "tiny" / "1", kinds=TINY_KINDS)


def request(offset: int, **fields: Any) -> PlainRecord:
    body = {"request_id": f"r-{offset}", **fields}
    return PlainRecord(topic="requested", offset=offset, value=json.dumps(body).encode())


def product(title: str) -> dict[str, str]:
    return {"product_id": "p", "title": title}


def answered(
    classifier: Classifier, records: Iterable[PlainRecord], found: dict[str, Any] | None = None
) -> Answered:
    questions = decode_questions(records, max_bytes=MAX_BYTES)
    requests, rejected = with_listings(questions, found or {}, max_bytes=MAX_BYTES)
    return answer(requests, rejected, ProductExplainer(classifier), {}, max_evaluations=50)


def test_requests_for_the_same_are_computed_once_and_answered_each(classifier: Classifier) -> None:
    same = [request(number, product=product("Lampe")) for number in range(3)]
    other = request(3, product=product("Lampe"), categories=[classifier.labels.codes[0]])
    result = answered(classifier, [*same, other])
    assert result.num_computed == 2
    assert not result.rejected
    assert sorted(message.request_id for _, message in result.answers) == ["r-0", "r-1", "r-2", "r-3"]
    assert len({message.explanation_id for _, message in result.answers}) == 4
    assert all(record.offset == int(message.request_id[2:]) for record, message in result.answers)


def test_a_request_that_cannot_be_answered_falls_out_alone(classifier: Classifier) -> None:
    result = answered(
        classifier,
        [
            request(0, product=product("Lampe")),
            request(1, product=product("Lampe"), categories=["nowhere"]),
            request(2, event_id="never"),
            PlainRecord(topic="requested", offset=3, value=None),
        ],
    )
    assert [message.request_id for _, message in result.answers] == ["r-0"]
    assert [type(each.error) for each in result.rejected] == [UnknownEventError, UnknownCategoryError]
    assert [failure_of(each).reason for each in result.rejected] == ["unknown_event", "unknown_category"]
    assert [each.event_id for each in result.rejected] == ["never", "r-1"]


def test_a_product_that_breaks_the_explainer_falls_out_alone(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = classifier.prepare

    def prepare(products: Any, executor: Any = None) -> Any:
        if any("broken" in each.title for each in products):
            raise RuntimeError("broken")
        return original(products, executor)

    monkeypatch.setattr(classifier, "prepare", prepare)
    titles = ["Lampe", "broken", "Livre"]
    result = answered(
        classifier, [request(number, product=product(title)) for number, title in enumerate(titles)]
    )
    assert sorted(message.request_id for _, message in result.answers) == ["r-0", "r-2"]
    assert [(each.record.offset, failure_of(each).reason) for each in result.rejected] == [(1, "model_error")]


def test_a_wish_for_evaluations_is_cut_to_what_is_allowed(classifier: Classifier) -> None:
    result = answered(
        classifier, [request(0, product=product("un deux trois quatre"), max_evaluations=10_000)]
    )
    ((_, message),) = result.answers
    assert 0 < message.method.evaluations <= 50


def test_long_work_tells_that_it_goes_on(classifier: Classifier) -> None:
    records = [
        request(0, product=product("un deux")),
        *(request(number, product=product(f"mot {number}"), max_evaluations=20) for number in (1, 2, 3)),
    ]
    requests, rejected = with_listings(
        decode_questions(records, max_bytes=MAX_BYTES), {}, max_bytes=MAX_BYTES
    )
    told: list[int] = []
    explainer = ProductExplainer(classifier)
    answer(requests, rejected, explainer, {}, max_evaluations=50, goes_on=lambda: told.append(1))
    assert len(told) == 4


def test_an_answer_too_large_for_the_brokers_is_told(classifier: Classifier) -> None:
    result = answered(
        classifier, [request(0, product=product("mot " * 200)), request(1, product=product("mot"))]
    )
    records, rejected = outgoing_answers(result, topic="explained", source="/shelver", max_bytes=4_000)
    assert [record.key for record in records] == [b"p"]
    assert [failure_of(each).reason for each in rejected] == ["output_too_large"]


def listed(number: int, **fields: Any) -> PlainRecord:
    body = {"event_id": f"e-{number}", "product_id": str(number), "title": "Lampe", **fields}
    return PlainRecord(topic="listed", offset=number, value=json.dumps(body).encode())


def test_a_listing_that_asks_for_it_causes_a_request_that_knows_its_place(classifier: Classifier) -> None:
    decoded = decode_records([listed(1), listed(2, explain=True)], max_bytes=MAX_BYTES)
    scored = score_listings(prepare_listings(decoded, classifier, {}), classifier)
    (record,) = explanation_requests(scored, topic="requested", source="/shelver")
    assert record.key == b"2"
    asked = PlainRecord(topic="requested", offset=0, value=record.value, headers=list(record.headers))
    questions = decode_questions([asked], max_bytes=MAX_BYTES)
    assert questions.events("listed") == {"e-2": ("listed", 0, 2)}
    result = answered(classifier, [asked], {"e-2": listed(2)})
    assert [(message.event_id, message.product_id) for _, message in result.answers] == [("e-2", "2")]


@pytest.mark.parametrize(
    "told",
    [
        b"other-0-2",
        b"listed-0",
        b"listed-x-2",
        b"",
        b"\xff-0-1",
        b"listed-0--2",
        b"listed-0-" + b"9" * 5_000,
        "listed-0-\N{ARABIC-INDIC DIGIT TWO}".encode(),
        None,
    ],
)
def test_a_request_cannot_point_at_anything_but_a_listing(told: bytes | None) -> None:
    record = PlainRecord(
        topic="requested",
        offset=0,
        value=b'{"request_id": "r", "event_id": "e-2"}',
        headers=[(LISTING_PLACE_HEADER, told)],
    )
    assert decode_questions([record], max_bytes=MAX_BYTES).events("listed") == {"e-2": None}


def test_a_listing_of_another_event_is_not_explained(classifier: Classifier) -> None:
    result = answered(classifier, [request(0, event_id="e-2")], {"e-2": listed(3)})
    assert not result.answers
    assert [failure_of(each).reason for each in result.rejected] == ["unknown_event"]
