"""Pages that nobody would write in good faith: a product or a PageError, whatever they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.products import ListedProduct
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
TAGS = (
    "<div itemscope itemtype='http://schema.org/Product'>",
    "<div itemscope itemprop=hasVariant>",
    "<p vocab='http://schema.org/' typeof=Product>",
    "<b itemprop=name>",
    "<img itemprop=image src='data:x' data-src=/1.jpg>",
    "<a property='url name' href='//b:x'>",
    "<meta property=og:title content=R>",
    "<meta property=og:image content='http://['>",
    "<link rel=canonical href=//x@y>",
    "<base href='http://[::1'>",
    "<base href=data:x>",
    "<title>",
    "</div>",
    "<table><tr>",
    "<script type=application/ld+json>{",
    "</script>",
    "<!--",
    "<svg>",
    "R",
    "\0",
    *MARKUP,
)


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


def keeps_promises(body: bytes, content_type: str = "text/html") -> None:
    try:
        product = read(body, content_type=content_type)
    except PageError as error:
        reason, told = error.reason, str(error)
    else:
        check(product)
        return
    assert reason in {PageReason.NO_PRODUCT, PageReason.NOT_HTML}
    assert len(told) < 500


def check(product: ListedProduct) -> None:
    assert 0 < len(product.title) <= 500
    assert product.description is None or 0 < len(product.description) <= 20_000
    for text in (product.title, product.description or ""):
        assert "\0" not in text
        text.encode()
    for url in (product.address, *product.image_urls):
        assert URL(url).scheme in {"http", "https"}
        url.encode("ascii")
    assert URL(product.address).host in {"shop.example", "www.shop.example"}


@given(st.lists(nodes(), max_size=3))
def test_any_json_ld_is_a_product_or_none(scripts: list[Any]) -> None:
    keeps_promises(page("<title>R</title>" + ld(*scripts)).encode("utf-8", "surrogatepass"))


@given(st.lists(st.sampled_from(TAGS), max_size=25).map("".join))
def test_any_markup_is_a_product_or_none(text: str) -> None:
    keeps_promises(text.encode("utf-8", "surrogatepass"))


@given(
    damaged(
        st.just(
            page(ld(ROBOT), "<div itemscope itemtype=http://schema.org/Product><b itemprop=name>x").encode()
        )
    ),
    st.sampled_from(["", "text/html", "text/html; charset=utf-16", "text/html; charset=big5", "\0"]),
)
def test_any_bytes_are_a_product_or_none(body: bytes, content_type: str) -> None:
    keeps_promises(body, content_type)


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
    keeps_promises(text.encode())


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
    keeps_promises(page(ld(nodes)).encode())
    keeps_promises(page(ld({"@graph": [loop, {"@id": "#i", "url": [{"@id": "#i"}] * 9}]})).encode())


def test_a_number_is_a_title_too() -> None:
    assert read(page(ld({**ROBOT, "name": 1984}))).title == "1984"
