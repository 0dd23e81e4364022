"""One product of a catalogue, wherever it was read, and the message that lists it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from schemas.codec import validate
from schemas.errors import CatalogueError
from schemas.products import ImageReference, ProductListed

__all__ = ["CatalogueRow"]


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One product of a catalogue.

    Attributes:
        product_id: As in the file, digit for digit.
        title: May be empty.
        description: May be empty.
        image_path: The file of its picture, when there is one.
        category: The code of its category as in the file, when it has one.
        split: The part of the catalogue it belongs to, such as `train` or `val`, when the file says so.
        pseudo: Whether models gave the category rather than people: fit for training only.
        image: Its picture when it is not a file: an address, or the picture itself.
    """

    product_id: str
    title: str
    description: str
    image_path: Path | None = None
    category: str | None = None
    split: str | None = None
    pseudo: bool = False
    image: ImageReference | None = None

    @property
    def has_picture(self) -> bool:
        """Whether there is a picture of it, of whatever kind."""
        return self.image_path is not None or self.image is not None

    def to_listing(self, event_id: str, *, inline_image: bool = True, explain: bool = False) -> ProductListed:
        """Return the message that lists this product.

        Args:
            event_id: Its id.
            inline_image: Put the picture file into the message; otherwise it goes without one.
            explain: Ask for an explanation.

        Raises:
            CatalogueError: The picture file cannot be read.
            InvalidMessageError: The product id is not fit to be one.
        """
        image = self.image
        if inline_image and self.image_path is not None:
            image = ImageReference(data=base64.b64encode(_read_picture(self.image_path)).decode("ascii"))
        fields = {
            "event_id": event_id,
            "product_id": self.product_id,
            "title": self.title,
            "description": self.description or None,
            "image": image,
            "explain": explain,
        }
        return validate(ProductListed, fields)


def _read_picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CatalogueError(f"{path}: the picture cannot be read: {error.strerror or error}") from error
