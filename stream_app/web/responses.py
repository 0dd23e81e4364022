"""What an answer of a server, or a fault on the way to it, means (pure)."""

from __future__ import annotations

import aiohttp
from yarl import URL

from stream_app.web.errors import FetchError, FetchReason
from stream_app.web.urls import origin

__all__ = ["BlockedAddressError", "check_response", "fetch_error", "too_large"]

MISSING_STATUSES = frozenset({404, 410})


class BlockedAddressError(OSError):
    """The socket would connect to an address that must not be fetched from.

    Always the same text: aiohappyeyeballs keeps the class only when all addresses of a name failed alike.
    """

    def __str__(self) -> str:
        return "not a public address"


def check_response(response: aiohttp.ClientResponse, address: URL) -> None:
    """Go on only if a server answers with a body as it is.

    Raises:
        FetchError: it does not.
    """
    if response.status in MISSING_STATUSES:
        raise FetchError(FetchReason.NOT_FOUND, f"{origin(address)} answered {response.status}")
    if response.status != 200:
        raise FetchError(
            FetchReason.UNAVAILABLE, f"{origin(address)} answered {response.status} instead of 200"
        )
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise FetchError(
            FetchReason.UNSUPPORTED_FORMAT,
            f"{origin(address)} sent content encoding {encoding[:20]!r} although asked for none",
        )


def too_large(address: URL, limit: int) -> FetchError:
    """The error of a body with more bytes than allowed."""
    return FetchError(FetchReason.TOO_LARGE, f"{origin(address)} sends more than {limit} bytes")


def fetch_error(error: Exception, address: URL) -> FetchError:
    """Say what an exception of the way to a body means."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, BlockedAddressError):
        return FetchError(FetchReason.BLOCKED, f"{origin(address)} is {cause}")
    reasons = (
        (TimeoutError, FetchReason.TIMEOUT, "did not answer in time"),
        (aiohttp.ClientPayloadError, FetchReason.TRUNCATED, "ended before its body did"),
        (aiohttp.InvalidURL, FetchReason.INVALID_URL, "is not a usable URL"),
        (Exception, FetchReason.UNAVAILABLE, f"cannot be reached ({type(error).__name__})"),
    )
    reason, text = next((reason, text) for kind, reason, text in reasons if isinstance(error, kind))
    return FetchError(reason, f"{origin(address)} {text}")
