"""Pages that nobody would write in good faith: a product or a PageError, whatever they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.pages import PIECES, seeds
from tests.fuzz.promises import keep_page_promises
from tests.strategies import MARKUP, damaged
from tests.unit.stream_app.shop_pages.pages import ROBOT, ld, page, read

KEYS = (
    "@type",
    "@id",
    "@graph",
    "@value",
    "mainEntity",
    "hasVariant",
    "isVariantOf",
    "offers",
    "itemOffered",
)
FIELDS = (*KEYS, "name", "description", "image", "url", "contentUrl")
TEXTS = (
    "Product",
    "ProductGroup",
    "ItemList",
    "#a",
    "#b",
    "",
    "/1.jpg",
    "//b",
    "http://[",
    "\ud83d",
    "a\0b",
    "\u202e",
)
SEEDS = list(seeds())


def nodes() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.sampled_from(TEXTS)
        | st.text(max_size=20),
        lambda children: (
            st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), children, max_size=5)
        ),
        max_leaves=25,
    )


@given(st.lists(nodes(), max_size=3))
def test_any_json_ld_is_a_product_or_none(scripts: list[Any]) -> None:
    keep_page_promises(page("<title>R</title>" + ld(*scripts)).encode("utf-8", "surrogatepass"))


@given(st.lists(st.sampled_from([*PIECES, *MARKUP]), max_size=25).map("".join))
def test_any_markup_is_a_product_or_none(text: str) -> None:
    keep_page_promises(text.encode("utf-8", "surrogatepass"))


@given(damaged(st.sampled_from(SEEDS)))
def test_any_bytes_are_a_product_or_none(body: bytes) -> None:
    keep_page_promises(body)


@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 20_000,
        "<div itemscope itemprop=hasVariant>" * 5_000,
        "<b itemscope itemtype=http://schema.org/Product>" + "<i itemprop=description>x" * 5_000,
        ld(*[ROBOT] * 200),
        page(ld([{"@type": "Product", "name": str(number)} for number in range(1_000)])),
        page(ld({"@graph": [{"@graph": []}] * 20_000})),
        '<script type="application/ld+json">' + '{"@graph":[' * 50_000,
        '<script type="application/ld+json">' + ", " * 100_000,
        f'<html prefix="{"a" * 200_000}"><meta property="og:title" content="x">',
        f'<meta property="og:title" content="{"1 " * 100_000}€"><meta name="description" content="x">',
        f'<meta property="og:title" content="{" - " * 100_000}"><meta name="description" content="x">',
        f'<meta property="og:image" content="data:image/png;base64,{"A" * 500_000}"><title>x</title>',
        f'<div itemscope itemtype="{"Product " * 50_000}"><b itemprop="{"name " * 50_000}">x</b>',
    ],
    ids=range(13),
)
def test_many_of_anything_are_a_product_or_none(text: str) -> None:
    keep_page_promises(text.encode())


def test_every_seed_of_the_fuzz_target_keeps_the_promises() -> None:
    for seed in SEEDS:
        keep_page_promises(seed)


def test_objects_that_refer_to_each_other_end() -> None:
    nodes = [
        {
            "@type": "ProductGroup",
            "@id": f"#{number}",
            "hasVariant": [{"@id": f"#{other}"} for other in range(60)],
            "isVariantOf": {"@id": f"#{number}"},
            "image": [{"@id": f"#{other}"} for other in range(60)],
        }
        for number in range(60)
    ]
    loop = {"@type": "Product", "name": "R", "image": {"@id": "#i"}}
    keep_page_promises(page(ld(nodes)).encode())
    keep_page_promises(page(ld({"@graph": [loop, {"@id": "#i", "url": [{"@id": "#i"}] * 9}]})).encode())


def test_a_number_is_a_title_too() -> None:
    assert read(page(ld({**ROBOT, "name": 1984}))).title == "1984"
