"""Why nothing could be fetched from an address."""

from enum import StrEnum

from schemas.errors import ShelverError

__all__ = ["FetchError", "FetchReason"]


class FetchReason(StrEnum):
    """The whole set; what is fetched (a picture, a page) has the same reasons and some of its own."""

    INVALID_URL = "invalid_url"
    """The address is not a usable URL."""
    BLOCKED = "blocked"
    """The address, its scheme or a redirect of it is one that must not be fetched."""
    NOT_FOUND = "not_found"
    """The server says that there is no such thing."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """The address leads to another one too many times."""
    TIMEOUT = "timeout"
    """It did not come in time."""
    UNAVAILABLE = "unavailable"
    """The server could not be reached or refused."""
    EMPTY = "empty"
    """There are no bytes."""
    TRUNCATED = "truncated"
    """The connection ended before the body did."""
    TOO_LARGE = "too_large"
    """More bytes than allowed."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """The body is in a content encoding, although none was asked for."""


class FetchError(ShelverError):
    """Nothing was fetched; `reason` is of a fixed set, the message says more for people."""

    def __init__(self, reason: FetchReason, message: str) -> None:
        self.reason = reason
        super().__init__(message)
