"""Products among the nodes of schema.org, as JSON-LD nests them (pure).

Microdata and RDFa are read from the same shape, see `items`. Names of types and fields: https://schema.org/Product.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from itertools import islice
from typing import Any, Final

from stream_app.shop_pages.products import Found

__all__ = ["Node", "Products", "read_products", "short_name"]

PRODUCT_TYPES: Final = frozenset(
    {
        "product",
        "productgroup",
        "productmodel",
        "individualproduct",
        "someproducts",
        "vehicle",
        "car",
        "book",
        "videogame",
    }
)
LIST_TYPES: Final = frozenset({"collectionpage", "itemlist", "searchresultspage", "offercatalog"})
LEADS_TO_PRODUCTS: Final = ("@graph", "mainEntity", "itemOffered", "about")
"""Fields that are followed; a product in any other (reviewed, similar, recommended) is not the page's own."""

MAX_NODES: Final = 10_000
MAX_PRODUCTS: Final = 100
MAX_VARIANTS: Final = 50
MAX_IMAGES: Final = 20
MAX_ADDRESSES: Final = 3
MAX_VALUES: Final = 200
"""Lists and objects that are opened for the pictures, or the addresses, of one product."""

MAX_VALUE_DEPTH: Final = 5
"""Lists and objects around a text."""

_PREFIX: Final = re.compile(r"(?:https?://(?:www\.)?schema\.org/|schema:)", re.IGNORECASE)

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Products:
    """What a page's nodes say.

    Attributes:
        found: each product that is nobody's variant, review or recommendation, in the order of the page.
        is_list: whether the page calls itself a list of things.
    """

    found: list[Found]
    is_list: bool


def read_products(roots: Any, is_page: Callable[[str], bool]) -> Products:
    """The products among these nodes.

    Args:
        roots: parsed JSON-LD, whatever it is; at most `MAX_NODES` of it are looked at.
        is_page: whether an address as written is that of the page; a variant with it comes first.
    """
    nodes = list(islice(_nodes(roots), MAX_NODES))
    by_id = {name: node for node in nodes if isinstance(name := node.get("@id"), str) and len(node) > 1}
    products = [node for node in nodes if _types(node) & PRODUCT_TYPES][:MAX_PRODUCTS]
    variants = {id(variant) for node in products for variant in _members(node, "hasVariant", by_id)}
    reader = _Reader(by_id, is_page)
    return Products(
        [reader.read(node) for node in products if id(node) not in variants],
        is_list=any(_types(node) & LIST_TYPES for node in nodes),
    )


def _nodes(roots: Any) -> Iterator[Node]:
    """Objects in the order of the page; a product's own fields are not entered."""
    waiting = [roots]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            yield value
            if not _types(value) & PRODUCT_TYPES:
                waiting.extend(value[name] for name in reversed(LEADS_TO_PRODUCTS) if name in value)


def _types(node: Node) -> set[str]:
    written = node.get("@type")
    return {short_name(name).lower() for name in _listed(written)[:20] if isinstance(name, str)}


def short_name(name: str) -> str:
    """A type or field of schema.org without what says that it is one."""
    return _PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _members(node: Node, field: str, by_id: dict[str, Node]) -> list[Node]:
    """The objects in a field, those that are only named included."""
    values = _listed(node.get(field))[:MAX_VARIANTS]
    return [_meant(value, by_id) for value in values if isinstance(value, dict)]


def _meant(node: Node, by_id: dict[str, Node]) -> Node:
    name = node.get("@id")
    return by_id.get(name, node) if len(node) == 1 and isinstance(name, str) else node


class _Reader:
    """Reads each node once, however often a page refers to it."""

    def __init__(self, by_id: dict[str, Node], is_page: Callable[[str], bool]) -> None:
        self._by_id = by_id
        self._is_page = cache(is_page)
        self._read: dict[int, Found] = {}

    def read(self, node: Node) -> Found:
        """A product, completed from the group it is of or from its variants."""
        related = [*_members(node, "isVariantOf", self._by_id), *_members(node, "hasVariant", self._by_id)]
        found = [self._read_one(each) for each in (node, *related)]
        found.sort(key=lambda each: not any(map(self._is_page, each.addresses)))
        return reduce(Found.completed_by, found)

    def _read_one(self, node: Node) -> Found:
        if id(node) not in self._read:
            pages = [node, *_members(node, "offers", self._by_id)[:1]]
            self._read[id(node)] = Found.of(
                _text(node.get("name")),
                _text(node.get("description")),
                islice(self._addresses(node.get("image")), MAX_IMAGES),
                islice(self._addresses([each.get("url") for each in pages]), MAX_ADDRESSES),
            )
        return self._read[id(node)]

    def _addresses(self, value: Any) -> Iterator[str]:
        """The addresses in a value: a text, an object with one, or lists of both, in their order."""
        waiting = [value]
        for _ in range(MAX_VALUES):
            if not waiting:
                return
            value = waiting.pop()
            if isinstance(value, str):
                yield value
            elif isinstance(value, list):
                waiting.extend(reversed(value[:MAX_VALUES]))
            elif isinstance(value, dict):
                node = _meant(value, self._by_id)
                waiting.append(node.get("contentUrl") or node.get("url") or node.get("@id"))


def _text(value: Any, depth: int = 0) -> str:
    """The first text in a value; a number is one too, as titles of books and games can be."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if depth == MAX_VALUE_DEPTH:
        return ""
    if isinstance(value, dict):
        return _text(value.get("@value"), depth + 1)
    if isinstance(value, list):
        return next((text for each in value[:20] if (text := _text(each, depth + 1)).strip()), "")
    return ""
