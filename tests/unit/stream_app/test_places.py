"""The place of a record, and its text, which anybody may have written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.places import read_place


@given(st.text(min_size=1), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_a_place_is_read_as_it_is_written(topic: str, partition: int, offset: int) -> None:
    assert read_place(f"{topic}-{partition}-{offset}") == (topic, partition, offset)


@given(st.text())
def test_whatever_is_written_is_a_place_or_none(text: str) -> None:
    place = read_place(text)
    assert place is None or text.startswith(f"{place[0]}-")


@pytest.mark.parametrize(
    "text", ["", "a", "a-1", "-1-2", "a-1--2", "a-1-2 ", "a-1-" + "9" * 5_000, "a-\u0661-2"]
)
def test_what_is_no_place(text: str) -> None:
    assert read_place(text) is None
