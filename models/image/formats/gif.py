"""GIF: a screen, then blocks, whose data comes in sub-blocks of up to 255 bytes (GIF89a, section 15 on)."""

import struct
from typing import Final

from models.image.formats.base import MAX_PARTS, Container, ImageFormat, corrupt

__all__ = ["read_gif"]

_EXTENSION: Final = 0x21
_GRAPHIC_CONTROL: Final = 0xF9
_IMAGE: Final = 0x2C
_TRAILER: Final = 0x3B


def read_gif(data: bytes) -> Container:
    """The first picture of a GIF; the others are not even walked.

    Raises:
        ImageError: `corrupt` without a picture.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _palette_bytes(flags)
    needed = [data[:position]]
    for _ in range(MAX_PARTS):
        start, kind = position, data[position]
        if kind == _IMAGE:
            left, top, picture_width, picture_height, flags = struct.unpack_from("<HHHHB", data, start + 1)
            end = _skip_sub_blocks(data, start + 11 + _palette_bytes(flags))
            needed += (data[start:end], bytes((_TRAILER,)))
            return Container(
                ImageFormat.GIF,
                b"".join(needed),
                width=max(width, left + picture_width),
                height=max(height, top + picture_height),
            )
        if kind != _EXTENSION:
            break
        position = _skip_sub_blocks(data, start + 2)
        if data[start + 1] == _GRAPHIC_CONTROL:
            needed.append(data[start:position])
    raise corrupt(ImageFormat.GIF, "it has no picture")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_sub_blocks(data: bytes, position: int) -> int:
    for _ in range(MAX_PARTS):
        length = data[position]
        position += 1 + length
        if not length:
            return position
    raise corrupt(ImageFormat.GIF, "it has too many blocks")
