"""The one thing of EXIF that changes a picture: how it is to be turned (CIPA DC-008, tag 0x0112)."""

import struct
from typing import Final

__all__ = ["read_orientation"]

_UPRIGHT: Final = 1
_ORIENTATION_TAG: Final = 0x0112
_SHORT: Final = 3
_BYTE_ORDERS: Final = {b"II": "<", b"MM": ">"}
_MAX_ENTRIES: Final = 500


def read_orientation(exif: bytes) -> int:
    """1 to 8 out of EXIF data, which starts with its byte order; 1, upright, if it has none or is damaged."""
    byte_order = _BYTE_ORDERS.get(exif[:2])
    if byte_order is None:
        return _UPRIGHT
    try:
        orientation = _find_orientation(exif, byte_order)
    except struct.error:
        return _UPRIGHT
    return orientation if 1 <= orientation <= 8 else _UPRIGHT


def _find_orientation(exif: bytes, byte_order: str) -> int:
    (directory,) = struct.unpack_from(byte_order + "I", exif, 4)
    (num_entries,) = struct.unpack_from(byte_order + "H", exif, directory)
    for entry in range(min(num_entries, _MAX_ENTRIES)):
        tag, kind, _, value = struct.unpack_from(byte_order + "HHIH", exif, directory + 2 + 12 * entry)
        if tag == _ORIENTATION_TAG and kind == _SHORT:
            return int(value)
    return _UPRIGHT
