"""What a server sent."""

from dataclasses import dataclass

from yarl import URL

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and what is needed to read it.

    Attributes:
        address: where it came from, behind all redirects.
        content_type: the header of that name as sent, or empty.
        body: at least one byte.
    """

    address: URL
    content_type: str
    body: bytes
