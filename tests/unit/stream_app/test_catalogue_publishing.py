"""Listings made from rows, and the pace at which they go out."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue_rows import CatalogueRow
from schemas.errors import CatalogueError
from schemas.products import ImageReference
from stream_app.catalogue_publishing import MAX_TOLD_FAILURES, Pace, Progress, listing_of

ROW = CatalogueRow("42", "Robot", "<p>Rouge</p>")


def test_an_unchanged_product_keeps_its_event_id() -> None:
    assert listing_of(ROW) == listing_of(replace(ROW, category="2583", split="val"))


def test_an_asked_for_explanation_does_not_make_it_another_event() -> None:
    asked = listing_of(ROW, explain=True)
    assert asked.explain
    assert asked.event_id == listing_of(ROW).event_id


@pytest.mark.parametrize(
    "change",
    [
        {"product_id": "43"},
        {"title": "robot"},
        {"description": ""},
        {"title": "Robot<p>", "description": "Rouge</p>"},
        {"image": ImageReference(url="https://example.com/a.jpg")},
        {"image": ImageReference(data="aaaa")},
    ],
)
def test_a_changed_product_gets_another_event_id(change: dict[str, Any]) -> None:
    assert listing_of(replace(ROW, **change)).event_id != listing_of(ROW).event_id


def test_the_picture_is_in_the_message_and_in_the_event_id(tmp_path: Path) -> None:
    picture = tmp_path / "image_1_product_42.jpg"
    picture.write_bytes(b"red")
    red = listing_of(replace(ROW, image_path=picture))
    assert red.image is not None
    assert red.image.data == base64.b64encode(b"red").decode()
    picture.write_bytes(b"blue")
    assert listing_of(replace(ROW, image_path=picture)).event_id != red.event_id


def test_a_picture_that_cannot_be_read_is_an_error_of_the_row(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        listing_of(replace(ROW, image_path=tmp_path / "gone.jpg"))


def test_without_a_rate_nothing_waits() -> None:
    pace = Pace(None, start=0.0)
    assert [pace.wait(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_a_rate_spreads_listings_evenly() -> None:
    pace = Pace(10, start=5.0)
    assert [pace.wait(5.0) for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    pace = Pace(10, start=0.0)
    assert pace.wait(60.0) == 0.0
    assert pace.wait(60.0) == pytest.approx(0.0, abs=0.1)
    assert pace.wait(60.0) == pytest.approx(0.1)


@given(
    per_second=st.floats(0.5, 1_000),
    pauses=st.lists(st.floats(0, 0.05), min_size=2, max_size=200),
)
def test_the_rate_is_never_exceeded_by_more_than_one_listing(per_second: float, pauses: list[float]) -> None:
    pace, now = Pace(per_second, start=0.0), 0.0
    for pause in pauses:
        now += pause
        now += pace.wait(now)
    assert len(pauses) <= now * per_second + 2 + 1e-6


def test_only_the_first_failures_are_told_but_all_are_counted() -> None:
    changes: list[int] = []
    progress = Progress(on_change=lambda: changes.append(1))
    for number in range(20):
        progress.fail(str(number), "too large")
    progress.confirm(3)
    assert (progress.num_failed, progress.num_published, len(changes)) == (20, 3, 21)
    assert len(progress.failures) == MAX_TOLD_FAILURES
    assert progress.failures[0] == "product '0' is not published: too large"
