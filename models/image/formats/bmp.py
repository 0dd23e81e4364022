"""BMP: a header of the file, then one of the picture (Windows GDI, BITMAPCOREHEADER and its successors)."""

import struct
from typing import Final

from models.image.formats.base import Container, ImageFormat

__all__ = ["read_bmp"]

_CORE_HEADER_BYTES: Final = 12


def read_bmp(data: bytes) -> Container:
    """The picture of a BMP; rows may be stored from the bottom or, with a negative height, from the top."""
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == _CORE_HEADER_BYTES else "<ii", data, 18)
    return Container(ImageFormat.BMP, data, width=width, height=abs(height))
