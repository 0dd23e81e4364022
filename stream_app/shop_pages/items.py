"""Microdata and RDFa Lite as nodes of the shape that JSON-LD has.

RDFa Lite is microdata with other attributes. Not read: `itemref`, RDFa beyond Lite. A property costs a walk
to its item and a text of bounded length, so time is linear however things are nested.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from stream_app.shop_pages.documents import Document
from stream_app.shop_pages.products import MAX_DESCRIPTION_CHARACTERS
from stream_app.shop_pages.schema_org import Node, short_name

__all__ = ["MICRODATA", "RDFA_LITE", "read_items"]

MAX_ELEMENTS: Final = 5_000
"""Items and properties of one page; the rest is not read."""

MAX_VALUES: Final = 20
"""Values of one property of one item."""

MAX_TEXTS: Final = 2_000
"""Pieces of text between tags that make one value."""

PROPERTIES: Final = frozenset(
    {"name", "description", "image", "url", "contentUrl", "offers", "mainEntity", "hasVariant", "isVariantOf"}
)
_ADDRESS_ATTRIBUTES: Final = {"a": "href", "area": "href", "link": "href", "object": "data"}
_MEDIA: Final = frozenset({"audio", "embed", "iframe", "img", "source", "video"})


@dataclass(frozen=True, slots=True)
class Syntax:
    """Which attributes mean that an element is an item, of which type, and what of another one."""

    scope: str
    type: str
    property: str


MICRODATA: Final = Syntax("itemscope", "itemtype", "itemprop")
RDFA_LITE: Final = Syntax("typeof", "typeof", "property")


def read_items(document: Document, syntax: Syntax) -> list[Node]:
    """The items of a page that are no property of another one, each with those it has."""
    elements = document.root.xpath(f"//*[@{syntax.scope} or @{syntax.property}]")[:MAX_ELEMENTS]
    items: dict[Any, Node] = {}
    outermost = []
    for element in elements:
        names = {short_name(name) for name in element.get(syntax.property, "").split()[:10]} & PROPERTIES
        owner = _owner(element, items) if names else None
        value: Node | str | None = None
        if syntax.scope in element.attrib:
            value = items[element] = {"@type": element.get(syntax.type, "").split()[:10]}
            if owner is None:
                outermost.append(value)
        elif owner is not None:
            value = _value(element)
        if owner is not None:
            for name in names:
                _add(owner, name, value)
    return outermost


def _owner(element: Any, items: dict[Any, Node]) -> Node | None:
    return next((items[each] for each in element.iterancestors() if each in items), None)


def _add(owner: Node, name: str, value: Node | str | None) -> None:
    values = owner.setdefault(name, [])
    if len(values) < MAX_VALUES:
        values.append(value)


def _value(element: Any) -> str:
    if (content := element.get("content")) is not None:
        return str(content)
    if element.tag in _MEDIA:
        return _picture(element)
    if element.tag in _ADDRESS_ATTRIBUTES:
        return element.get(_ADDRESS_ATTRIBUTES[element.tag]) or _text(element)
    return _text(element)


def _picture(element: Any) -> str:
    """The address of a picture, also of one that is only loaded when it comes into view."""
    written = [element.get(name, "").strip() for name in ("src", "data-src")]
    return next((each for each in written if each and not each.startswith("data:")), "")


def _text(element: Any) -> str:
    """The text of an element; tags become spaces, as they do where texts are cleaned."""
    return " ".join(islice(element.itertext(), MAX_TEXTS))[:MAX_DESCRIPTION_CHARACTERS]
