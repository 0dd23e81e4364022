"""What an answer of a picture server, or a fault on the way to it, means (pure)."""

from __future__ import annotations

import aiohttp
from yarl import URL

from models.errors import ImageError, ImageReason
from stream_app.image_urls import origin

__all__ = ["BlockedAddressError", "check_response", "image_error", "too_large"]

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
        ImageError: it does not.
    """
    if response.status in MISSING_STATUSES:
        raise ImageError(ImageReason.NOT_FOUND, f"{origin(address)} answered {response.status}")
    if response.status != 200:
        raise ImageError(
            ImageReason.UNAVAILABLE, f"{origin(address)} answered {response.status} instead of 200"
        )
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise ImageError(
            ImageReason.UNSUPPORTED_FORMAT,
            f"{origin(address)} sent content encoding {encoding[:20]!r} although asked for none",
        )


def too_large(address: URL, limit: int) -> ImageError:
    """The error of a body with more bytes than allowed."""
    return ImageError(ImageReason.TOO_LARGE, f"{origin(address)} sends more than {limit} bytes")


def image_error(error: Exception, address: URL) -> ImageError:
    """Say what an exception of the way to a picture means."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, BlockedAddressError):
        return ImageError(ImageReason.BLOCKED, f"{origin(address)} leads to {cause}")
    reasons = (
        (TimeoutError, ImageReason.TIMEOUT, "did not answer in time"),
        (aiohttp.ClientPayloadError, ImageReason.TRUNCATED, "ended before the picture did"),
        (aiohttp.InvalidURL, ImageReason.INVALID_URL, "is not a usable URL"),
        (Exception, ImageReason.UNAVAILABLE, f"cannot be reached ({type(error).__name__})"),
    )
    reason, text = next((reason, text) for kind, reason, text in reasons if isinstance(error, kind))
    return ImageError(reason, f"{origin(address)} {text}")
