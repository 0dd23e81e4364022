"""The way of a batch without a broker, from records to messages; bad ones fall out alone."""

import base64
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import jiter
import pytest
import torch

from models.errors import ImageReason, NonFiniteScoresError
from models.runtime import Classifier
from schemas.assignments import ImageUse, TextUse
from schemas.errors import EmptyListingError, MalformedError
from stream_app.assigning import NUM_ALTERNATIVES, assignments, explanation_requests, outgoing
from stream_app.errors import FatalError
from stream_app.inference import score_listings, warm_up
from stream_app.memory import BatchCap
from stream_app.preparing import Picture, decode_records, picture_urls, prepare_listings
from stream_app.stages import Decoded, Prepared, Scored, named
from tests.tiny_models import TINY_KINDS, picture, write_tiny_bundle
from tests.unit.stream_app.records import PlainRecord


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    write_tiny_bundle(tmp_path / "tiny" / "1")
    return Classifier.load(tmp_path / "tiny" / "1", kinds=TINY_KINDS)


def record(number: int, **fields: Any) -> PlainRecord:
    body = {"event_id": f"e-{number}", "product_id": str(number), "title": f"Lampe {number}", **fields}
    return PlainRecord(offset=number, value=json.dumps(body).encode())


def decoded(records: Iterable[PlainRecord]) -> Decoded:
    return decode_records(records, max_bytes=2**20)


def scored(classifier: Classifier, records: Iterable[PlainRecord], **pictures: bytes | ImageReason) -> Scored:
    return score_listings(prepare_listings(decoded(records), classifier, pictures), classifier)


def titles_break(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, word: str, error: Exception
) -> None:
    """Make preparation fail for every batch that has a title with this word."""
    original = classifier.prepare_to_score

    def prepare(products: Any, executor: Any = None) -> Any:
        if any(word in product.title for product in products):
            raise error
        return original(products, executor)

    monkeypatch.setattr(classifier, "prepare_to_score", prepare)


def test_delistings_are_counted_and_bad_values_rejected() -> None:
    batch = decoded([record(0), PlainRecord(offset=1, value=None), PlainRecord(offset=2, value=b"[")])
    assert [listing.product.event_id for listing in batch.listings] == ["e-0"]
    assert batch.num_delistings == 1
    assert [(type(each.error), each.record.offset) for each in batch.rejected] == [(MalformedError, 2)]


def test_a_listing_without_id_is_named_by_its_place() -> None:
    batch = decoded([PlainRecord(topic="t", partition=2, offset=9, value=b'{"product_id":"1","title":"x"}')])
    assert batch.listings[0].product.event_id == "t-2-9"


def test_a_listing_that_breaks_preparation_is_rejected_alone(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles_break(classifier, monkeypatch, "Lampe 3", KeyError("broken"))
    prepared = prepare_listings(decoded(map(record, range(9))), classifier, {})
    assert [each.record.offset for each in prepared.rejected] == [3]
    assert [listing.record.offset for listing in prepared.listings] == [0, 1, 2, 4, 5, 6, 7, 8]
    assert prepared.inputs is not None
    assert prepared.inputs.num_products == 8


def test_a_listing_with_nothing_to_classify_is_rejected_with_the_reason_of_its_picture(
    classifier: Classifier,
) -> None:
    result = scored(classifier, [record(0), record(1, title="le", image={"data": "@"}), record(2)])
    assert [listing.record.offset for listing in result.listings] == [0, 2]
    (rejected,) = result.rejected
    assert isinstance(rejected.error, EmptyListingError)
    assert "invalid_base64" in str(rejected.error)


def test_a_picture_alone_is_enough(classifier: Classifier) -> None:
    image = {"data": base64.b64encode(picture()).decode()}
    (message,) = assignments(scored(classifier, [record(0, title="", image=image)]), datetime.now(UTC))
    assert (message.modalities.text, message.modalities.image) == (TextUse.ABSENT, ImageUse.USED)


def test_fetched_pictures_are_used_and_missing_ones_flagged(classifier: Classifier) -> None:
    records = [record(number, image={"url": f"https://shop/{number}"}) for number in range(3)]
    batch = decoded(records)
    assert picture_urls(batch) == {"https://shop/0", "https://shop/1", "https://shop/2"}
    pictures: dict[str, Picture] = {"https://shop/0": picture(), "https://shop/1": ImageReason.TIMEOUT}
    with ThreadPoolExecutor(2) as threads:
        prepared = prepare_listings(batch, classifier, pictures, threads)
    messages = assignments(score_listings(prepared, classifier), datetime.now(UTC))
    assert [message.modalities.image for message in messages] == ["used", "unavailable", "unavailable"]
    assert [message.image_reason for message in messages] == [None, "timeout", "unavailable"]


def test_a_listing_that_the_model_fails_for_is_rejected_alone_and_named(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = classifier.score

    def score(inputs: Any) -> Any:
        if inputs.text.ids_T.shape[0] > 0 and 9 in sizes(inputs):
            raise RuntimeError("shape mismatch")
        return original(inputs)

    def sizes(inputs: Any) -> list[int]:
        offsets = inputs.text.offsets_B1
        return [int(after - before) for before, after in pairwise(offsets)]

    monkeypatch.setattr(classifier, "score", score)
    result = scored(
        classifier, [record(0), record(1, title="un deux trois quatre cinq six sept huit neuf"), record(2)]
    )
    assert [listing.record.offset for listing in result.listings] == [0, 2]
    assert [(str(each.error), each.event_id) for each in result.rejected] == [("shape mismatch", "e-1")]
    (line,) = [line for line in caplog.records if "failed on a listing" in line.message]
    assert (vars(line)["event_id"], vars(line)["source"]) == ("e-1", "product-listed-0-1")
    assert result.scores is not None
    assert len(result.scores.logits_BC) == 2


def test_non_finite_scores_are_never_published(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = classifier.score

    def score(inputs: Any) -> Any:
        scores = original(inputs)
        scores.logits_BC[1] = float("nan")
        return scores

    monkeypatch.setattr(classifier, "score", score)
    result = scored(classifier, map(record, range(3)))
    assert [listing.record.offset for listing in result.listings] == [0, 2]
    assert [(type(each.error), each.event_id) for each in result.rejected] == [(NonFiniteScoresError, "e-1")]
    assert [message.event_id for message in assignments(result, datetime.now(UTC))] == ["e-0", "e-2"]


def test_a_model_that_fails_on_everything_is_fatal_and_makes_no_dead_letters(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier.network, "forward", lambda _batch: 1 / 0)
    with pytest.raises(FatalError, match="golden"):
        scored(classifier, map(record, range(3)))


@pytest.mark.parametrize(
    "text", ["CUDA error: device-side assert triggered", "CUDA error: an illegal memory access"]
)
def test_a_lost_device_is_fatal(classifier: Classifier, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def score(_inputs: Any) -> Any:
        raise RuntimeError(text)

    monkeypatch.setattr(classifier, "score", score)
    with pytest.raises(FatalError, match="the device is lost"):
        scored(classifier, map(record, range(3)))


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    MemoryError(),
]


def fits(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, num_rows: int, error: BaseException
) -> list[int]:
    """Make scoring fail for larger batches; the sizes that were tried."""
    original = classifier.score
    tried: list[int] = []

    def score(inputs: Any) -> Any:
        tried.append(inputs.num_products)
        if inputs.num_products > num_rows:
            raise error
        return original(inputs)

    monkeypatch.setattr(classifier, "score", score)
    return tried


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: f"{type(error).__name__} {error}"[:60])
def test_out_of_memory_is_answered_with_smaller_batches_from_then_on(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    tried = fits(classifier, monkeypatch, 2, error)
    retries: list[None] = []
    cap = BatchCap(lambda: retries.append(None))
    prepared = prepare_listings(decoded(map(record, range(9))), classifier, {})
    result = score_listings(prepared, classifier, cap)
    assert [listing.record.offset for listing in result.listings] == list(range(9))
    assert not result.rejected
    assert cap.num_rows == 2
    assert retries
    tried.clear()
    assert len(score_listings(prepared, classifier, cap).listings) == 9
    assert tried == [2, 2, 2, 2, 1]


def test_a_listing_that_alone_does_not_fit_is_rejected(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = classifier.score

    def score(inputs: Any) -> Any:
        if 9 in [int(b - a) for a, b in pairwise(inputs.text.offsets_B1)]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(inputs)

    monkeypatch.setattr(classifier, "score", score)
    long = record(1, title="un deux trois quatre cinq six sept huit neuf")
    cap = BatchCap()
    prepared = prepare_listings(decoded([record(0), long, record(2)]), classifier, {})
    before = cap.num_rows
    result = score_listings(prepared, classifier, cap)
    assert [listing.record.offset for listing in result.listings] == [0, 2]
    assert [each.record.offset for each in result.rejected] == [1]
    assert cap.num_rows == before, "one large listing must not make every later batch small"


def test_a_batch_without_listings_goes_through(classifier: Classifier) -> None:
    result = scored(classifier, [PlainRecord(value=None)])
    assert outgoing(result, topic="out", source="/shelver") == []


def test_scores_do_not_depend_on_the_batch(classifier: Classifier) -> None:
    together = assignments(scored(classifier, map(record, range(6))), datetime.now(UTC))
    for number, message in enumerate(together):
        (alone,) = assignments(scored(classifier, [record(number)]), datetime.now(UTC))
        assert alone.category.code == message.category.code
        assert alone.category.probability == pytest.approx(message.category.probability, abs=1e-5)


def test_the_message_tells_category_alternatives_model_and_source(classifier: Classifier) -> None:
    result = scored(classifier, [record(4)])
    (sent,) = outgoing(result, topic="out", source="/shelver")
    body = jiter.from_json(sent.value)
    categories = [body["category"], *body["alternatives"]]
    assert [each["probability"] for each in categories] == sorted(
        (each["probability"] for each in categories), reverse=True
    )
    assert len(body["alternatives"]) == min(NUM_ALTERNATIVES, len(classifier.labels.codes) - 1)
    assert sum(each["probability"] for each in categories) == pytest.approx(1.0, abs=1e-5)
    assert body["model"] == {"name": "tiny", "version": "1"}
    assert body["source"] == {"topic": "product-listed", "partition": 0, "offset": 4}
    assert sent.key == b"4"
    assert dict(sent.headers)["ce_id"] == body["assignment_id"].encode()


def test_the_trace_of_a_listing_goes_on_in_its_category_and_in_the_question_it_asks(
    classifier: Classifier,
) -> None:
    trace = [("traceparent", f"00-{'4' * 32}-{'b' * 16}-01".encode()), ("tracestate", b"shop=1")]
    traced = replace(record(0, explain=True), headers=[*trace, ("traceparent", b"nonsense")])
    result = scored(classifier, [traced, record(1, explain=True)])
    for records in (
        outgoing(result, topic="category-assigned", source="/shelver"),
        explanation_requests(result, topic="explanation-requested", source="/shelver"),
    ):
        carried = [[each for each in record.headers if each[0].startswith("trace")] for record in records]
        assert carried == [trace, []]


@pytest.mark.parametrize(
    ("headers", "event_id", "named_as"),
    [
        ([], "e-1", {"event_id": "e-1", "source": "product-listed-0-7"}),
        ([], None, {"event_id": "product-listed-0-7", "source": "product-listed-0-7"}),
        (
            [
                ("shelver.source", b"product-listed-3-4"),
                ("traceparent", f"00-{'4' * 32}-{'b' * 16}-00".encode()),
            ],
            None,
            {"event_id": "product-listed-3-4", "source": "product-listed-3-4", "trace_id": "4" * 32},
        ),
    ],
)
def test_a_line_about_an_event_names_it_where_it_came_from_and_its_trace(
    headers: list[tuple[str, bytes | None]], event_id: str | None, named_as: dict[str, str]
) -> None:
    assert named(PlainRecord(offset=7, headers=headers), event_id) == named_as


def test_the_same_event_and_version_always_get_the_same_assignment_id(classifier: Classifier) -> None:
    first, second = (
        assignments(scored(classifier, [record(4)]), datetime.now(UTC))[0].assignment_id for _ in range(2)
    )
    assert first == second


def test_nothing_prepared_is_nothing_scored(classifier: Classifier) -> None:
    assert score_listings(Prepared((), None), classifier).listings == ()


@pytest.mark.parametrize(("num_fitting", "num_rows"), [(64, 2**31), (63, 32), (20, 16), (1, 1)])
def test_a_start_with_too_little_memory_lowers_the_batches(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, num_fitting: int, num_rows: int
) -> None:
    score, sizes = classifier.score, []

    def scarce(inputs: Any) -> Any:
        sizes.append(inputs.num_products)
        if inputs.num_products > num_fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return score(inputs)

    monkeypatch.setattr(classifier, "score", scarce)
    cap = BatchCap()
    warm_up(classifier, 64, cap)
    assert cap.num_rows == num_rows
    assert sizes[-1] == min(num_rows, 64), "the largest batch that fits is tried"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("not for one row"), RuntimeError("shapes differ")])
def test_a_start_that_smaller_batches_do_not_help_fails(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(_inputs: Any) -> Any:
        raise error

    monkeypatch.setattr(classifier, "score", broken)
    with pytest.raises(RuntimeError, match=str(error)):
        warm_up(classifier, 64, BatchCap())
