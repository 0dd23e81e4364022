"""WebP: a RIFF file whose first chunk tells the size (RFC 9649, section 2)."""

import struct
from typing import Final

from models.image.formats.base import MAX_PARTS, Container, ImageFormat, corrupt, truncated
from models.image.formats.exif import read_orientation

__all__ = ["read_webp"]

_RIFF_HEADER_BYTES: Final = 12
_EXIF_PREFIX: Final = b"Exif\0\0"


def read_webp(data: bytes) -> Container:
    """The picture of a WebP, or the first one of an animation; a decoder reads on to it alone.

    Raises:
        ImageError: `truncated` if shorter than it says, `corrupt` if no size can be found.
    """
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    end = riff_bytes + 8
    if end > len(data):
        raise truncated(ImageFormat.WEBP)
    width, height = _size(data)
    return Container(
        ImageFormat.WEBP, data[:end], width=width, height=height, orientation=_orientation(data[:end])
    )


def _size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return 1 + low_width + (high_width << 16), 1 + low_height + (high_height << 16)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise corrupt(ImageFormat.WEBP, "it does not start with a picture")


def _orientation(data: bytes) -> int:
    position = _RIFF_HEADER_BYTES
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            return read_orientation(data[position + 8 : position + 8 + length].removeprefix(_EXIF_PREFIX))
        position += 8 + length + length % 2
    return 1
