"""Fuzzes the way of a shop's page, from bytes to a product.

`uv run --group fuzz python -m tests.fuzz.pages --seconds 600`
"""

from collections.abc import Iterator

from tests.fuzz.runner import run

__all__ = ["PIECES", "seeds"]

PIECES = (
    "<div itemscope itemtype='http://schema.org/Product'>",
    "<div itemscope itemprop=hasVariant>",
    "<p vocab='http://schema.org/' typeof=Product>",
    "<b itemprop=name>",
    "<img itemprop=image src='data:x' data-src=/1.jpg>",
    "<a property='url name' href='//b:x'>",
    "<meta charset=utf-16>",
    "<meta property=og:title content=R>",
    "<meta property=og:image content='http://['>",
    "<meta name=description content='12 &euro;'>",
    "<link rel=canonical href=//x@y>",
    "<base href='http://[::1'>",
    "<base href=data:x>",
    "<title>",
    "</div>",
    "<table><tr>",
    "<script type=application/ld+json>{",
    '<script type=application/ld+json>[{"@type": "Product", "name": "R", "image": {"@id": "#"}}, ],</script>',
    "</script>",
    "<!--",
    "<svg>",
    "R | shop - 12 €",
    "\0",
)


def seeds() -> Iterator[bytes]:
    """Pieces of pages, and pages of several."""
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        yield from (piece.encode(encoding) for piece in PIECES)
        yield "".join(PIECES).encode(encoding)


if __name__ == "__main__":
    run("tests.fuzz.pages", "keep_page_promises", seeds)
