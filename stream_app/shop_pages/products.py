"""What a page says of a product: as found in one place, and as read in the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from models.text.cleaning import shown

__all__ = ["Found", "ListedProduct", "PageSource"]

MAX_TITLE_CHARACTERS: Final = 500
MAX_DESCRIPTION_CHARACTERS: Final = 20_000


class PageSource(StrEnum):
    """Which part of a page told the title, the most reliable first."""

    JSON_LD = "json_ld"
    """A schema.org product in a script."""
    MICRODATA = "microdata"
    """A schema.org product in attributes `itemprop`."""
    RDFA = "rdfa"
    """A schema.org product in attributes `property` (RDFa Lite)."""
    OPENGRAPH = "opengraph"
    """What the page tells social networks of itself."""
    PAGE = "page"
    """Title and description of the page; it never says that it is about a product."""


@dataclass(frozen=True, slots=True)
class ListedProduct:
    """A product as a shop's page shows it.

    Attributes:
        title: plain text of 1 to 500 characters, without the shop's name and price.
        description: plain text of 1 to 20,000 characters, if there is any.
        image_urls: absolute http or https addresses, the main picture first; not yet checked to be public.
        address: of the page, as the shop wants it known; always of the host that was asked in the end.
        source: what told the title.
        shop: the shop whose own rules were followed, or None.
    """

    title: str
    description: str | None
    image_urls: tuple[str, ...]
    address: str
    source: PageSource
    shop: str | None = None

    @property
    def image_url(self) -> str | None:
        """The main picture."""
        return self.image_urls[0] if self.image_urls else None


@dataclass(frozen=True, slots=True)
class Found:
    """What one place of a page says; nothing of it needs to be there.

    Attributes:
        title: plain text.
        description: plain text.
        images: addresses as written.
        addresses: of the product's page, as written.
    """

    title: str = ""
    description: str = ""
    images: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, title: str, description: str, images: Iterable[str] = (), addresses: Iterable[str] = ()
    ) -> Found:
        """From texts with markup and entities; addresses that are blank are left out."""
        return cls(
            shown(title, max_characters=MAX_TITLE_CHARACTERS),
            shown(description, max_characters=MAX_DESCRIPTION_CHARACTERS),
            _distinct(images),
            _distinct(addresses),
        )

    def titled(self, title: str) -> Found:
        """The same under another title."""
        return replace(self, title=title)

    def completed_by(self, other: Found) -> Found:
        """The same, and from the other what is missing here."""
        return Found(
            self.title or other.title,
            self.description or other.description,
            self.images or other.images,
            _distinct((*self.addresses, *other.addresses)),
        )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for each in texts if (text := each.strip())))
