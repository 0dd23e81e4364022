"""From a page to its product (pure): schema.org, then what the page tells of itself, then the shop's rules.

What one place does not tell is taken from the next. All of it takes time and memory linear in the size of the
page, up to the limits in the modules it calls.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from functools import reduce
from typing import Final

from yarl import URL

from stream_app.shop_pages.decoding import decode_page
from stream_app.shop_pages.documents import Document, host_of
from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.items import MICRODATA, RDFA_LITE, read_items
from stream_app.shop_pages.json_ld import read_json
from stream_app.shop_pages.products import Found, ListedProduct, PageSource
from stream_app.shop_pages.schema_org import Products, read_products
from stream_app.shop_pages.shops import adapted
from stream_app.shop_pages.titles import squashed, without_clutter
from stream_app.web.answers import Answer
from stream_app.web.urls import origin

__all__ = ["read_page"]

HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml"})
OTHER_THINGS: Final = ("article", "music", "profile", "video")
"""How types of OpenGraph begin that are no products."""

MAX_IMAGES: Final = 20


def read_page(answer: Answer) -> ListedProduct:
    """The product of a page.

    Raises:
        PageError: `not_html` or `no_product`.
    """
    _check_html(answer)
    document = Document(answer.address, decode_page(answer.body, answer.content_type))
    told = _told_by_page(document)
    structured: dict[PageSource, Found] = {}
    is_list = False
    for source, products in _schema_org(document).items():
        is_list |= products.is_list or len(products.found) > 1
        if own := _own(products.found, document):
            structured[source] = own
    if not structured and not _sells(document):
        _check_about_one_thing(document, told, is_list=is_list)
    by_page = PageSource.OPENGRAPH if document.meta("og:title") else PageSource.PAGE
    source = next((source for source, found in structured.items() if found.title), by_page)
    whole = reduce(Found.completed_by, [*structured.values(), told])
    if not whole.title:
        raise PageError(PageReason.NO_PRODUCT, f"the page of {origin(answer.address)} has no title")
    return adapted(_listed(document, whole, source))


def _check_html(answer: Answer) -> None:
    media_type = answer.content_type.partition(";")[0].strip().lower()
    begins_like_html = answer.body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")
    if media_type in HTML_TYPES or (not media_type and begins_like_html):
        return
    sent = repr(media_type[:50]) if media_type else "something else"
    raise PageError(PageReason.NOT_HTML, f"{origin(answer.address)} sent {sent} instead of HTML")


def _schema_org(document: Document) -> dict[PageSource, Products]:
    def is_page(reference: str) -> bool:
        return document.absolute(reference) == document.address

    return {
        PageSource.JSON_LD: read_products([read_json(script) for script in document.json_ld], is_page),
        PageSource.MICRODATA: read_products(read_items(document, MICRODATA), is_page),
        PageSource.RDFA: read_products(read_items(document, RDFA_LITE), is_page),
    }


def _own(found: list[Found], document: Document) -> Found | None:
    """The product that the page is about: the only one, else that with its address, else with its title.

    Several of one name are one.
    """
    if len({squashed(each.title) for each in found}) > 1:
        found = _with_address_of(document, found) or _with_title_of(document, found)
    return reduce(Found.completed_by, found) if found else None


def _with_address_of(document: Document, found: list[Found]) -> list[Found]:
    here = {_place(document.address), *_places(document, [document.canonical()])}
    return [each for each in found if here & _places(document, each.addresses)]


def _places(document: Document, references: Iterable[str]) -> set[tuple[str, str]]:
    return {_place(address) for each in references if (address := document.absolute(each)) is not None}


def _place(address: URL) -> tuple[str, str]:
    return host_of(address), address.path.rstrip("/")


def _with_title_of(document: Document, found: list[Found]) -> list[Found]:
    """Those of the longest name that stands in a title of the page."""
    titles = squashed(" ".join((document.title(), document.meta("og:title"), document.heading())))
    names = [squashed(each.title) for each in found]
    longest = max((name for name in names if name in titles), key=len, default="")
    return [each for each, name in zip(found, names, strict=True) if longest and name == longest]


def _told_by_page(document: Document) -> Found:
    """What a page tells of itself, most of it to social networks, without calling it a product."""
    found = Found.of(
        document.meta("og:title", "twitter:title") or document.title(),
        document.meta("og:description", "description", "twitter:description"),
        [
            image
            for name in ("og:image:secure_url", "og:image", "og:image:url", "twitter:image")
            for image in document.all_meta(name)
        ],
        [document.meta("og:url")],
    )
    host = document.address.raw_host or ""
    site_names = [
        document.meta("og:site_name"),
        document.meta("application-name"),
        host,
        host_of(document.address),
    ]
    return found.titled(without_clutter(found.title, [*site_names, *host.split(".")[:-1]]))


def _sells(document: Document) -> bool:
    kind = document.meta("og:type").lower().removeprefix("og:")
    return kind.startswith("product") or bool(document.meta("product:price:amount", "og:price:amount"))


def _check_about_one_thing(document: Document, told: Found, *, is_list: bool) -> None:
    """Refuse a page that never speaks of a product, unless it may be about one all the same."""
    where = f"the page of {origin(document.address)}"
    if is_list:
        raise PageError(PageReason.NO_PRODUCT, f"{where} lists several products")
    is_other = document.meta("og:type").lower().startswith(OTHER_THINGS) or document.address.path == "/"
    if is_other or not (told.images or told.description):
        raise PageError(PageReason.NO_PRODUCT, f"{where} does not say that it is about a product")


def _listed(document: Document, found: Found, source: PageSource) -> ListedProduct:
    return ListedProduct(
        title=found.title,
        description=found.description or None,
        image_urls=_images(document, found),
        address=str(_address(document, found)),
        source=source,
    )


def _images(document: Document, found: Found) -> tuple[str, ...]:
    """Absolute addresses; a page over https has them over https as well, as browsers ask for them."""
    addresses = [each for written in found.images if (each := document.absolute(written)) is not None]
    if document.address.scheme == "https":
        addresses = [each if each.explicit_port else each.with_scheme("https") for each in addresses]
    return tuple(dict.fromkeys(map(str, addresses)))[:MAX_IMAGES]


def _address(document: Document, found: Found) -> URL:
    """The address the page gives itself, if it is of its own host and no mere home page."""
    for written in (document.canonical(), *found.addresses):
        address = document.own(written) if written else None
        if address is not None and (address.path != "/" or document.address.path == "/"):
            return address
    return document.address
