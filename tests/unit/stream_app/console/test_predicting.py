"""A test set goes through the gateway in pieces, and every row has its outcome."""

from pathlib import Path
from tempfile import gettempdir

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.assignments import (
    AssignedCategory,
    CategoryAssigned,
    ImageUse,
    Modalities,
    ModelReference,
    TextUse,
)
from schemas.catalogue_rows import CatalogueRow
from schemas.codec import encode
from schemas.errors import CatalogueError
from schemas.products import ProductListed
from stream_app.console.answers import Limits, Problem, ProductAnswer
from stream_app.console.predicting import CHUNK_ROWS, MAX_FRUITLESS, Prediction, Progress, read_upload

LIMITS = Limits(
    max_body_bytes=1_000_000,
    max_record_bytes=None,
    max_products=100,
    deadline_seconds=1,
    max_wait_seconds=1,
)


def rows(num: int, title: str = "Lampe") -> list[CatalogueRow]:
    return [CatalogueRow(f"p-{number}", f"{title} {number}", "", category="10") for number in range(num)]


def assigned(listing: ProductListed, code: int = 10) -> ProductAnswer:
    category = CategoryAssigned(
        assignment_id="a",
        event_id=listing.event_id,
        product_id=listing.product_id,
        category=AssignedCategory(code=code, label="Livres", probability=0.5),
        modalities=Modalities(text=TextUse.USED, image=ImageUse.ABSENT),
        model=ModelReference(name="m", version="1"),
        assigned_at="2026-11-30T00:00:00Z",
    )
    return ProductAnswer(event_id=listing.event_id, status="assigned", assigned=category)


def pending(listing: ProductListed) -> ProductAnswer:
    return ProductAnswer(event_id=listing.event_id, status="pending")


@given(
    num=st.integers(1, 90),
    most=st.integers(1, 50),
    body=st.integers(65_536 + 400, 70_000),
    title=st.sampled_from(["a", "é" * 50, "x" * 300]),
)
def test_every_row_is_sent_once_in_pieces_that_the_gateway_takes(
    num: int, most: int, body: int, title: str
) -> None:
    limits = LIMITS.model_copy(update={"max_products": most, "max_body_bytes": body})
    prediction = Prediction(rows(num, title))
    sent: list[str] = []
    while chunk := prediction.next_chunk(limits):
        assert len(chunk) <= min(most, CHUNK_ROWS)
        assert sum(len(encode(listing)) + 1 for listing in chunk.values()) <= body - 65_536 or len(chunk) == 1
        sent += [listing.product_id for listing in chunk.values()]
        prediction.take(chunk, [assigned(listing) for listing in chunk.values()])
    refused = [each.product_id for each in prediction.outcomes if each and each.status == "refused"]
    assert sorted([*sent, *filter(None, refused)]) == sorted(f"p-{number}" for number in range(num))
    assert prediction.progress.left == 0


def test_rows_without_an_answer_are_asked_for_again_under_the_same_id_until_it_stalls() -> None:
    prediction = Prediction(rows(3))
    first = prediction.next_chunk(LIMITS)
    prediction.take(first, [assigned(first[0]), pending(first[1]), pending(first[2])])
    assert prediction.progress == Progress(total=3, assigned=1, failed=0)
    assert not prediction.is_stalled
    for _ in range(MAX_FRUITLESS):
        chunk = prediction.next_chunk(LIMITS)
        assert {number: each.event_id for number, each in chunk.items()} == {
            number: each.event_id for number, each in first.items() if number
        }
        prediction.take(chunk, [pending(listing) for listing in chunk.values()])
    stalled = prediction.is_stalled
    prediction.go_on()
    assert (stalled, prediction.is_stalled) == (True, False)


def test_a_row_that_no_worker_answers_waits_behind_those_that_were_not_sent() -> None:
    limits = LIMITS.model_copy(update={"max_products": 1})
    prediction = Prediction(rows(2))
    prediction.take([0], [pending(prediction.next_chunk(limits)[0])])
    assert list(prediction.next_chunk(limits)) == [1]


def test_a_row_that_cannot_be_sent_has_its_outcome_and_the_others_go_on(tmp_path: Path) -> None:
    missing = CatalogueRow("p-missing", "Lampe", "", image_path=tmp_path / "gone.jpg")
    large = CatalogueRow("p-large", "x" * 2_000_000, "")
    prediction = Prediction([missing, large, *rows(1)])
    chunk = prediction.next_chunk(LIMITS)
    assert [listing.product_id for listing in chunk.values()] == ["p-0"]
    prediction.take(chunk, [assigned(listing) for listing in chunk.values()])
    assert [each.problem.kind for each in prediction.outcomes if each and each.problem] == [
        "invalid",
        "too-large",
    ]
    assert prediction.progress == Progress(total=3, assigned=1, failed=2)


def test_the_results_are_a_table_of_all_rows() -> None:
    prediction = Prediction(rows(3))
    chunk = prediction.next_chunk(LIMITS)
    problem = Problem(type="urn:shelver:problem:dead-letter", reason="empty_listing", detail="nothing in it")
    prediction.take(
        [0, 1], [assigned(chunk[0], 20), ProductAnswer(event_id="e", status="failed", problem=problem)]
    )
    assert prediction.csv().splitlines() == [
        "product_id,category,label,probability,true_category,status,problem,model",
        "p-0,20,Livres,0.500000,10,assigned,,m@1",
        "p-1,,,,10,failed,empty_listing,",
        "p-2,,,,10,not sent,,",
    ]


def test_uploads_of_the_challenge_and_of_ours_are_read() -> None:
    ours = b"product_id,title,category\n1,Lampe,10\n2,Livre,\n"
    assert [(row.product_id, row.category) for row in read_upload("a.CSV", ours, 10)] == [
        ("1", "10"),
        ("2", None),
    ]
    challenge = b",designation,description,productid,imageid\n0,Lampe,,1,2\n1,Livre,,3,4\n"
    assert [row.title for row in read_upload("X_test.csv", challenge, 1)] == ["Lampe"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.exe", b"MZ"),
        ("rows.csv", b"\xff\xfe\x00"),
        ("rows.csv", b"title\nLampe\n"),
        ("rows.csv", b"product_id,image\n1,../../../etc/passwd\n"),
        ("rows.csv", b"product_id,image\n1,/etc/passwd\n"),
        ("rows.jsonl", b"[" * 100_000),
        ("../../rows.csv", b"product_id\n\x00\n"),
    ],
)
def test_uploads_that_cannot_be_read_are_told_without_where_they_were(name: str, content: bytes) -> None:
    with pytest.raises(CatalogueError) as error:
        read_upload(name, content, 10)
    assert gettempdir() not in str(error.value)
