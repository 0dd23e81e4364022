"""PNG: a signature, then chunks of length, type, data and checksum (W3C PNG, sections 5 and 11)."""

import struct
from typing import Final

from models.image.formats.base import MAX_PARTS, Container, ImageFormat, corrupt, truncated
from models.image.formats.exif import read_orientation

__all__ = ["read_png"]

_SIGNATURE_BYTES: Final = 8
_HEADER: Final = b"IHDR"
_END: Final = b"IEND"
_EXIF: Final = b"eXIf"
_NEEDED: Final = frozenset((_HEADER, b"PLTE", b"tRNS", b"IDAT", _END))


def read_png(data: bytes) -> Container:
    """The picture of a PNG; of an animated one its still picture.

    Raises:
        ImageError: `truncated` without its end chunk, `corrupt` if it does not start with a header.
    """
    orientation = 1
    needed = [data[:_SIGNATURE_BYTES]]
    position = _SIGNATURE_BYTES
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position, position + 12 + length
        if position > len(data):
            raise truncated(ImageFormat.PNG)
        if kind in _NEEDED:
            needed.append(data[start:position])
        if kind == _EXIF:
            orientation = read_orientation(data[start + 8 : position - 4])
        if kind == _END:
            return _container(needed, orientation)
    raise corrupt(ImageFormat.PNG, "it has too many chunks")


def _container(needed: list[bytes], orientation: int) -> Container:
    if len(needed[1]) != 25 or needed[1][4:8] != _HEADER:
        raise corrupt(ImageFormat.PNG, "it does not start with its header")
    width, height, bit_depth = struct.unpack_from(">IIB", needed[1], 8)
    return Container(
        ImageFormat.PNG,
        b"".join(needed),
        width=width,
        height=height,
        orientation=orientation,
        bit_depth=bit_depth,
    )
