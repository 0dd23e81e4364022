"""BMP: a header of the file, then one of the picture (Windows GDI, BITMAPCOREHEADER and its successors)."""

import struct
from typing import Final

from models.errors import ImageError, ImageReason
from models.image.formats.base import Container, ImageFormat

__all__ = ["read_bmp"]

_CORE_HEADER_BYTES: Final = 12
_UNCOMPRESSED: Final = frozenset((0, 3, 6))
"""BI_RGB, BI_BITFIELDS and BI_ALPHABITFIELDS."""


def read_bmp(data: bytes) -> Container:
    """The picture of a BMP; rows may be stored from the bottom or, with a negative height, from the top.

    Raises:
        ImageError: `unsupported_format` if it is compressed: Pillow decodes that in Python, byte by byte.
    """
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    if header_bytes != _CORE_HEADER_BYTES:
        (compression,) = struct.unpack_from("<I", data, 30)
        if compression not in _UNCOMPRESSED:
            raise ImageError(
                ImageReason.UNSUPPORTED_FORMAT,
                f"unsupported_format:bmp with compression {compression}, only those without are read",
            )
    width, height = struct.unpack_from("<HH" if header_bytes == _CORE_HEADER_BYTES else "<ii", data, 18)
    return Container(ImageFormat.BMP, data, width=width, height=abs(height))
