"""Pictures as the console shows them: decoded by the one decoder, within its limits, and small."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import Final

from PIL import Image

from models.errors import ImageError
from models.image.decoding import ImageLimits, decode_image, locate_square
from schemas.products import ImageReference

__all__ = ["blank", "inline_bytes", "thumbnail"]

JPEG_QUALITY: Final = 85
MAX_SIDE_PX: Final = 640

_LIMITS: Final = ImageLimits()
_GREY: Final = (200, 200, 200)


def thumbnail(content: bytes, side_px: int = MAX_SIDE_PX) -> bytes | None:
    """A small JPEG of a picture, upright; None where it is none that can be read.

    Args:
        content: of a file of whoever sent it.
        side_px: of its longer side.
    """
    try:
        square = Image.fromarray(decode_image(content, side_px, _LIMITS))
        place = locate_square(content, side_px)
    except ImageError:
        return None
    scale = side_px / max(place.picture_width, place.picture_height)
    width, height = (max(1, round(length * scale)) for length in (place.picture_width, place.picture_height))
    left, top = (side_px - width) // 2, (side_px - height) // 2
    return _jpeg(square.crop((left, top, left + width, top + height)))


def blank(width: int, height: int) -> bytes:
    """What stands for a picture that is not here, in the same proportions."""
    scale = MAX_SIDE_PX / max(width, height)
    return _jpeg(Image.new("RGB", (max(1, round(width * scale)), max(1, round(height * scale))), _GREY))


def inline_bytes(image: ImageReference | None) -> bytes | None:
    """The picture that a listing carries; None where there is none, or its address only."""
    if image is None or image.data is None:
        return None
    try:
        return base64.b64decode(image.data, validate=True)
    except (binascii.Error, ValueError):
        return None


def _jpeg(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
