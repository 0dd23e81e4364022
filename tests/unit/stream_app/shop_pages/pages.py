"""Pages of our own making, in the shapes that shops use."""

import json
from typing import Any

from yarl import URL

from stream_app.shop_pages.extraction import read_page
from stream_app.shop_pages.products import ListedProduct
from stream_app.web.answers import Answer

ADDRESS = "https://shop.example/p/42"
ROBOT: dict[str, Any] = {
    "@context": "https://schema.org",
    "@type": "Product",
    "name": "Robot aspirateur",
    "description": "Il aspire.",
    "image": "https://cdn.example/robot.jpg",
}


def ld(*nodes: Any) -> str:
    """Scripts of JSON-LD, one a node."""
    return "".join(f'<script type="application/ld+json">{json.dumps(node)}</script>' for node in nodes)


def page(head: str = "", body: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"


def read(
    text: str | bytes, address: str = ADDRESS, content_type: str = "text/html; charset=utf-8"
) -> ListedProduct:
    body = text if isinstance(text, bytes) else text.encode()
    return read_page(Answer(URL(address), content_type, body))
