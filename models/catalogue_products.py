"""From a row of a catalogue to the product that a network is given: the same for training and evaluation."""

import base64
import binascii
from pathlib import Path

from models.errors import ImageReason
from models.inputs import Product
from schemas.catalogue_rows import CatalogueRow

__all__ = ["product_of"]


def product_of(row: CatalogueRow) -> Product:
    """One row with its picture read from disk.

    A picture that cannot be read is left out with its reason; one behind an address is not fetched.
    """
    picture = _picture(row)
    if isinstance(picture, ImageReason):
        return Product(row.title, row.description, image_reason=picture)
    return Product(row.title, row.description, image=picture)


def _picture(row: CatalogueRow) -> bytes | ImageReason | None:
    if row.image_path is not None:
        return _from_disk(row.image_path)
    if row.image is None:
        return None
    if row.image.data is None:
        return ImageReason.UNAVAILABLE
    try:
        return base64.b64decode(row.image.data, validate=True)
    except binascii.Error:
        return ImageReason.INVALID_BASE64


def _from_disk(path: Path) -> bytes | ImageReason:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return ImageReason.NOT_FOUND
    except OSError:
        return ImageReason.UNAVAILABLE
