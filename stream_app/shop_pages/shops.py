"""What is special to the pages of single shops: one entry a shop, followed after what holds for all.

Written from the habits of such shops, not from their pages, and tried on pages of our own making only; where
a shop does otherwise, what holds for all shops still finds the product.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from yarl import URL

from stream_app.shop_pages.products import ListedProduct
from stream_app.shop_pages.titles import trimmed
from stream_app.web.urls import host_is_allowed

__all__ = ["SHOPS", "Shop", "adapted"]


PRAISE: Final = re.compile(r"(?:\s+(?:pas cher|au meilleur prix|[\u00e0a] prix bas))+$", re.IGNORECASE)
"""What shops write at the end of a product's name."""


@dataclass(frozen=True, slots=True)
class Shop:
    """One shop and its habits.

    Attributes:
        name: for people.
        hosts: its hosts, as `host_pattern` writes them.
        clutter: a part of a title that is the shop's and not the product's.
    """

    name: str
    hosts: tuple[str, ...]
    clutter: re.Pattern[str]

    def adapt(self, product: ListedProduct) -> ListedProduct:
        """The product as this shop means it; its query only says how somebody came to the page."""
        title = trimmed(product.title, lambda part: self.clutter.fullmatch(part.strip()) is not None)
        title = PRAISE.sub("", title).strip() or product.title
        address = str(URL(product.address).with_query(None))
        return replace(product, title=title, address=address, shop=self.name)


SHOPS: Final = (
    Shop(
        "Rakuten",
        ("fr.shopping.rakuten.com",),
        re.compile(
            r"rakuten(?:\.com| france)?|priceminister|(?:achat|vente|neuf|occasion|et|ou|d'|/|\s)+",
            re.IGNORECASE,
        ),
    ),
    Shop(
        "Rue du Commerce",
        ("rueducommerce.fr", "www.rueducommerce.fr"),
        re.compile(
            r"(?:sur )?rue ?du ?commerce(?:\.fr|\.com)?|achat(?: ?[/&] ?vente)?(?: .*)?", re.IGNORECASE
        ),
    ),
)


def adapted(product: ListedProduct) -> ListedProduct:
    """The product by the rules of its shop, if there are any."""
    host = URL(product.address).raw_host or ""
    shop = next((shop for shop in SHOPS if host_is_allowed(host, shop.hosts)), None)
    return shop.adapt(product) if shop else product
