"""The JSON in scripts, as broken as it comes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.shop_pages.json_ld import read_json
from tests.strategies import MARKUP

NODE = {"name": "a, ]b", "image": ["1.jpg"]}
WRITTEN = json.dumps(NODE)


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN,
        f"\n  {WRITTEN} ;",
        f"<!--\n{WRITTEN}\n-->",
        f"//<![CDATA[\n{WRITTEN}\n//]]>",
        f"/* <![CDATA[ */ {WRITTEN} /* ]]> */",
        f"var product = {WRITTEN}; // more",
        WRITTEN + WRITTEN,
        WRITTEN.replace('"', "&quot;"),
    ],
)
def test_what_stands_around_a_document_is_put_up_with(text: str) -> None:
    assert read_json(text) == NODE


def test_trailing_commas_and_line_breaks_within_texts_are_put_up_with() -> None:
    assert read_json('{"name": "a\nb\t", "image": ["1.jpg", ], }') == {"name": "a\nb\t", "image": ["1.jpg"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{",
        "{name: 1}",
        "[" * 100_000,
        '{"a":' * 100_000,
        f"[{'9' * 5_000}]",
        "&#" + "9" * 5_000 + ";[",
    ],
)
def test_what_cannot_be_read_is_nothing(text: str) -> None:
    assert read_json(text) is None


@given(
    st.text() | st.lists(st.sampled_from(["{", "}", "[", "]", '"a"', ":", ",", "1", *MARKUP])).map("".join)
)
def test_any_text_is_json_or_nothing(text: str) -> None:
    read_json(text)
