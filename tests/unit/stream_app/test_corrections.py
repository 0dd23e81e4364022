"""Corrections beside assignments: the right one is found whatever else there is, and agreement rolls."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode
from schemas.corrections import CategoryCorrected, CorrectCategory
from schemas.errors import InvalidMessageError, MalformedError
from stream_app.assignment_index import Assigned, AssignmentIndex
from stream_app.corrections import CorrectionOutcome, RollingAccuracy, Verdict, verdict
from stream_app.decoding import decode_each
from stream_app.metric_labels import MAX_CATEGORIES
from stream_app.metrics import ServiceMetrics
from tests.unit.stream_app.records import PlainRecord

CONFIRMED, CORRECTED = CorrectionOutcome.CONFIRMED, CorrectionOutcome.CORRECTED
CODES = (10, 20, "books")


def assigned(number: int, **fields: Any) -> PlainRecord:
    body = {
        "assignment_id": f"a-{number}",
        "event_id": f"e-{number}",
        "product_id": str(number),
        "category": {"code": 10, "label": "x", "probability": 0.5},
        "modalities": {"text": "used", "image": "absent"},
        "model": {"name": "m", "version": "1"},
        "source": {"topic": "listed", "partition": 0, "offset": number},
        "assigned_at": "2026-01-01T00:00:00Z",
        **fields,
    }
    return PlainRecord(topic="assigned", offset=number, value=json.dumps(body).encode())


def correction(product_id: str, code: int | str = 10, **fields: str) -> CategoryCorrected:
    return CategoryCorrected(
        correction_id="c", product_id=product_id, category=CorrectCategory(code=code), **fields
    )


def id_of(found: Assigned | None) -> str | None:
    return None if found is None else found.assignment_id


def test_the_index_keeps_the_latest_and_passes_over_what_is_none_of_ours() -> None:
    index = AssignmentIndex(3)
    index.add(
        [assigned(1), PlainRecord(value=b"\xff"), PlainRecord(value=None), *map(assigned, (2, 3, 1, 4))]
    )
    assert index.place("e-1") == ("listed", 0, 1)
    assert index.place("e-2") is None
    assert index.place("e-4") == ("listed", 0, 4)
    assert id_of(index.about(correction("2"))) is None
    assert id_of(index.about(correction("3"))) == "a-3"


def test_the_assignment_is_the_one_that_is_named_else_the_latest_of_the_event_else_of_the_product() -> None:
    index = AssignmentIndex()
    index.add(
        [
            assigned(1, product_id="p", event_id="e"),
            assigned(2, product_id="p", event_id="e"),
            assigned(3, product_id="p"),
            assigned(4, product_id="q", source=None),
        ]
    )
    assert id_of(index.about(correction("p", assignment_id="a-1", event_id="e-3"))) == "a-1"
    assert id_of(index.about(correction("p", event_id="e"))) == "a-2"
    assert id_of(index.about(correction("p"))) == "a-3"
    assert index.place("e-4") is None


def test_an_assignment_that_comes_again_with_another_product_leaves_nothing_behind() -> None:
    index = AssignmentIndex(10)
    for number in range(50):
        index.add([assigned(1, product_id=f"p-{number}")])
    assert index.about(correction("p-48")) is None
    assert id_of(index.about(correction("p-49"))) is not None
    assert len(index._of_product) == len(index._of_event) == 1


@pytest.mark.parametrize("named", [{"assignment_id": "a-1"}, {"event_id": "e-1"}])
def test_an_assignment_of_another_product_is_none(named: dict[str, str]) -> None:
    index = AssignmentIndex()
    index.add([assigned(1)])
    assert id_of(index.about(correction("1", **named))) == "a-1"
    assert index.about(correction("2", **named)) is None


def test_of_other_products_nothing_is_kept() -> None:
    index = AssignmentIndex(products={"1"})
    index.add([assigned(1), assigned(2)])
    assert id_of(index.about(correction("1"))) == "a-1"
    assert index.about(correction("2")) is None


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 3)), max_size=40),
    st.integers(1, 6),
)
def test_whatever_comes_the_index_finds_what_a_list_of_the_latest_would(
    came: list[tuple[int, int, int]], max_assignments: int
) -> None:
    index, latest = AssignmentIndex(max_assignments), dict[str, tuple[str, str]]()
    for number, event, product in came:
        # An id stands for one event and product, as it follows from them.
        name = f"a-{number}-{event}-{product}"
        index.add([assigned(number, assignment_id=name, event_id=f"e-{event}", product_id=f"p-{product}")])
        latest.pop(name, None)
        latest[name] = (f"e-{event}", f"p-{product}")
        while len(latest) > max_assignments:
            del latest[next(iter(latest))]
    for product in range(4):
        of_product = [name for name, (_, found) in latest.items() if found == f"p-{product}"]
        assert id_of(index.about(correction(f"p-{product}"))) == (of_product[-1] if of_product else None)
    for name, (_, product_id) in latest.items():
        assert id_of(index.about(correction(product_id, assignment_id=name))) == name


@pytest.mark.parametrize(
    ("said", "outcome"), [(2583, CONFIRMED), ("2583", CONFIRMED), ("02583", CORRECTED), (10, CORRECTED)]
)
def test_a_code_is_the_same_as_a_number_and_as_text(said: int | str, outcome: CorrectionOutcome) -> None:
    found = Assigned("a", "e", "p", 2583, None)
    assert verdict(correction("p", said), found) == Verdict(outcome, 2583)
    assert verdict(correction("p", said), None) == Verdict(CorrectionOutcome.UNKNOWN)


def test_the_latest_corrections_of_a_category_count_and_only_of_the_models() -> None:
    accuracy = RollingAccuracy(4)
    accuracy.add([Verdict(CONFIRMED, 10)] * 3 + [Verdict(CORRECTED, 10), Verdict(CORRECTED, 99)], CODES)
    accuracy.add([Verdict(CorrectionOutcome.UNKNOWN), Verdict(CONFIRMED, "books")], CODES)
    assert accuracy.ratios() == {10: 0.75, "books": 1.0}
    accuracy.add([Verdict(CORRECTED, 10)] * 3, CODES)
    assert accuracy.ratios() == {10: 0.0, "books": 1.0}
    accuracy.add([], (20, "books"))
    assert accuracy.ratios() == {"books": 1.0}


def test_the_metrics_show_ratios_of_a_hundred_categories_and_drop_those_that_are_gone() -> None:
    metrics = ServiceMetrics()
    metrics.corrected(CONFIRMED, 2)
    metrics.corrected_accuracy(dict.fromkeys(range(MAX_CATEGORIES + 50), 0.5))

    def shown() -> list[str]:
        text = metrics.exposition()[0].decode().splitlines()
        return [line for line in text if line.startswith("shelver_corrected_accuracy_ratio{")]

    assert len(shown()) == MAX_CATEGORIES
    metrics.corrected_accuracy({"books": 0.25})
    assert shown() == ['shelver_corrected_accuracy_ratio{category="books"} 0.25']
    counted = {
        outcome: metrics.registry.get_sample_value("shelver_corrections_total", {"outcome": outcome})
        for outcome in CorrectionOutcome
    }
    assert counted == {"confirmed": 2, "corrected": 0, "unknown": 0, "withdrawn": 0}


def test_what_is_no_correction_is_rejected_alone_and_null_values_are_counted() -> None:
    good = b'{"product_id": "p", "category": {"code": 10}}'
    values = [
        good,
        b"{",
        None,
        b'{"product_id": "p"}',
        b'{"product_id": "p", "category": {"code": 1.5}}',
        None,
    ]
    messages = decode_each(
        CategoryCorrected,
        [PlainRecord(offset=number, value=value) for number, value in enumerate(values)],
        max_bytes=1_000,
    )
    assert [record.offset for record, _ in messages.read] == [0]
    assert messages.read[0][1].correction_id == "product-listed-0-0"
    assert [type(each.error) for each in messages.rejected] == [
        MalformedError,
        InvalidMessageError,
        InvalidMessageError,
    ]
    assert messages.num_tombstones == 2


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists).map(
        lambda value: json.dumps({"product_id": value, "category": {"code": value}}).encode()
    )
)
def test_whatever_a_record_holds_it_is_a_correction_or_rejected(value: bytes) -> None:
    messages = decode_each(CategoryCorrected, [PlainRecord(value=value)], max_bytes=1_000)
    assert len(messages.read) + len(messages.rejected) == 1
    for _, found in messages.read:
        assert decode(CategoryCorrected, value, default_event_id="x").category == found.category
