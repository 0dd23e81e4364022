"""Why no product could be read from an address."""

from enum import StrEnum
from typing import Final

from schemas.errors import ShelverError

__all__ = ["PageError", "PageReason"]


class PageReason(StrEnum):
    """The whole set, fit for answers and metric labels: every reason of a fetch, and those of a page."""

    INVALID_URL = "invalid_url"
    """The address is not a usable URL."""
    BLOCKED = "blocked"
    """The address, its scheme or a redirect of it is one that must not be fetched."""
    NOT_FOUND = "not_found"
    """The shop says that there is no such page."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """The address leads to another one too many times."""
    TIMEOUT = "timeout"
    """It did not come in time."""
    UNAVAILABLE = "unavailable"
    """The shop could not be reached or refused."""
    EMPTY = "empty"
    """There are no bytes."""
    TRUNCATED = "truncated"
    """The connection ended before the page did."""
    TOO_LARGE = "too_large"
    """More bytes than allowed."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """The page came compressed, although it was not asked to."""
    NOT_HTML = "not_html"
    """What is behind the address is no HTML page."""
    NO_PRODUCT = "no_product"
    """The page does not say what product it is about."""
    UNREADABLE = "unreadable"
    """It takes too much time or memory, or our own code fails on it."""


_BY_HAND: Final = "or fill in title, description and picture by hand"

_ADVICE: Final = {
    PageReason.INVALID_URL: "copy the whole address of the product's page, from https:// on",
    PageReason.BLOCKED: "only public pages are read, over https:// unless the operator allows more "
    "(SHELVER_SHOP_PAGE_ALLOW_HTTP, _ALLOWED_HOSTS, _ALLOWED_NETWORKS)",
    PageReason.NOT_FOUND: "open the address in a browser: the product may be gone",
    PageReason.TOO_MANY_REDIRECTS: f"give the address that a browser ends at, {_BY_HAND}",
    PageReason.TIMEOUT: f"try again later, {_BY_HAND}",
    PageReason.UNAVAILABLE: f"the shop may not serve programs: try again later, {_BY_HAND}",
    PageReason.EMPTY: f"open the address in a browser, {_BY_HAND}",
    PageReason.TRUNCATED: f"try again, {_BY_HAND}",
    PageReason.TOO_LARGE: f"the operator may allow more (SHELVER_SHOP_PAGE_MAX_BYTES), {_BY_HAND}",
    PageReason.UNSUPPORTED_FORMAT: "the shop serves browsers only: fill in the product by hand",
    PageReason.NOT_HTML: "give the address of the product's page; a picture is given as a picture",
    PageReason.NO_PRODUCT: f"give the address of one product's page, {_BY_HAND}",
    PageReason.UNREADABLE: "fill in title, description and picture by hand, and report the address",
}


class PageError(ShelverError):
    """No product was read; `reason` is of a fixed set, the message says what was wrong and what to do."""

    def __init__(self, reason: PageReason, problem: str) -> None:
        self.reason = reason
        self.problem = problem
        super().__init__(f"{problem}; {_ADVICE[reason]}")
