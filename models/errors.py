"""What can go wrong between a product and its scores.

ShelverError
+-- ImageError               a picture cannot be used; its product is classified from the text alone
+-- ModelError
    +-- BundleError          (also ValueError) a stored version is broken or not what it says
    +-- RepositoryError      (also ValueError) no such model, version or alias
    +-- DeviceError          (also ValueError) no such device on this machine
    +-- UnsupportedKindError (also ValueError) a kind of encoder this release does not know
    +-- CascadeError         (also ValueError) no probability from which on a text alone is certain
    +-- ExplanationError     (also ValueError) nothing to explain, or no such category
    +-- PromotionError       a version must not take the place of another
    +-- NonFiniteScoresError a network answered NaN or infinity for a product
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from schemas.errors import ShelverError

__all__ = [
    "BundleError",
    "CascadeError",
    "DeviceError",
    "ExplanationError",
    "ImageError",
    "ImageReason",
    "ModelError",
    "NonFiniteScoresError",
    "PromotionError",
    "RepositoryError",
    "UnsupportedKindError",
    "refused_as",
]


class ImageReason(StrEnum):
    """Why a promised picture was not used: the whole set, fit for messages and metric labels."""

    EMPTY = "empty"
    """There are no bytes."""
    TRUNCATED = "truncated"
    """The file ends before its picture does."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """The first bytes are of no format that is decoded here."""
    TOO_LARGE = "too_large"
    """More bytes than allowed."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """Its header announces more pixels than allowed."""
    CORRUPT = "corrupt"
    """The right format, but it cannot be decoded."""
    INVALID_BASE64 = "invalid_base64"
    """The inline data is not base64."""
    INVALID_URL = "invalid_url"
    """The address is not a usable URL."""
    BLOCKED = "blocked"
    """The address, its scheme or a redirect of it is one that must not be fetched."""
    NOT_FOUND = "not_found"
    """The server says that there is no such picture."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """The address leads to another one too many times."""
    TIMEOUT = "timeout"
    """It did not come, or was not decoded, in time."""
    UNAVAILABLE = "unavailable"
    """The server could not be reached or refused."""


class ImageError(ShelverError):
    """One picture cannot be used; `reason` is of a fixed set, the message says more for people."""

    def __init__(self, reason: ImageReason, message: str) -> None:
        self.reason = reason
        super().__init__(message)

    def __reduce__(self) -> tuple[type["ImageError"], tuple[ImageReason, str]]:
        return type(self), (self.reason, str(self))


class ModelError(ShelverError):
    """Something about a model version or what it answered."""


class BundleError(ModelError, ValueError):
    """A stored version is incomplete, damaged, or not what its manifest says."""


class RepositoryError(ModelError, ValueError):
    """The repository has no such model, version or alias, or cannot take what is published."""


class DeviceError(ModelError, ValueError):
    """The settings ask for a device that is unknown or that this machine does not have."""


class UnsupportedKindError(ModelError, ValueError):
    """A version or a configuration asks for a kind of encoder that this release does not know."""


class CascadeError(ModelError, ValueError):
    """A version shall leave pictures out, but does not say from when on a text alone is certain."""


class ExplanationError(ModelError, ValueError):
    """There is nothing to explain, or the model does not have the category that is asked about."""


class PromotionError(ModelError):
    """A version scores worse than the one that it would replace, or nobody can tell."""


class NonFiniteScoresError(ModelError):
    """A network answered NaN or infinity for a product, so there is nothing to publish for it."""


@contextmanager
def refused_as(what: str) -> Iterator[None]:
    """Make whatever the block raises the fault of a version, in a line that begins with `what`.

    Foreign code raises anything for a configuration or a file that it was not made for; what is written in
    Rust also panics, which is no Exception.

    Raises:
        BundleError: the block raised something.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BundleError(f"{what} ({type(error).__name__}: {str(error)[:120]})") from error
