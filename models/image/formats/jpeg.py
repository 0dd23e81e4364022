"""JPEG: a chain of marked segments, with coded data after each start of scan (ITU-T T.81, annex B)."""

import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import Final

from models.image.formats.base import MAX_PARTS, Container, ImageFormat, corrupt, truncated
from models.image.formats.exif import read_orientation

__all__ = ["read_jpeg"]

_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END: Final = 0xD9
_SCAN: Final = 0xDA
_EXIF: Final = 0xE1
_EXIF_PREFIX: Final = b"Exif\0\0"
# Application segments 0 (JFIF) and 14 (Adobe) tell how colours are coded; the others and comments do not.
_UNNEEDED: Final = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))

# Of a run of 0xFF only the last counts, and markers that stand alone (0x01, 0xD0 to 0xD8) are passed over.
# Both patterns are two bytes long, so that a search takes one pass whatever the bytes are.
_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
# Within coded data only these end a scan; decoders take anything else for damaged data and read on.
_MARKER_AFTER_SCAN: Final = re.compile(rb"\xff([\xc4\xcc\xd9-\xdd\xe0-\xef\xfe])")

Segment = tuple[int, int, int]
"""Marker, first byte with its 0xFF, byte behind the last; of a scan only the header."""


def read_jpeg(data: bytes) -> Container:
    """The first picture of a JPEG, or of an MPO, whose further pictures follow the end of the first.

    Raises:
        ImageError: `truncated` without its end mark, `corrupt` without a frame header or a scan.
    """
    segments = list(islice(_segments(data), MAX_PARTS))
    frame = next((start for marker, start, _ in segments if marker in _FRAME_HEADERS), None)
    scans = [start for marker, start, _ in segments if marker == _SCAN]
    if frame is None or not scans or frame > scans[0]:
        raise corrupt(ImageFormat.JPEG, "it has no frame header before its data")
    if segments[-1][0] != _END:
        raise truncated(ImageFormat.JPEG)
    bit_depth, height, width = struct.unpack_from(">BHH", data, frame + 4)
    header = (
        data[start:end] for marker, start, end in segments if start < scans[0] and marker not in _UNNEEDED
    )
    return Container(
        ImageFormat.JPEG,
        b"".join((data[:2], *header, data[scans[0] : segments[-1][2]])),
        width=width,
        height=height,
        orientation=_orientation(data, segments),
        bit_depth=bit_depth,
        num_scans=len(scans),
    )


def _segments(data: bytes) -> Iterator[Segment]:
    """All segments, up to the end of the first picture or of the data."""
    position, pattern = 2, _MARKER
    while match := pattern.search(data, position):
        marker, start = match[1][0], match.start()
        if marker == _END:
            yield marker, start, match.end()
            return
        (length,) = struct.unpack_from(">H", data, match.end())
        position = match.end() + length
        if position > len(data) and pattern is _MARKER_AFTER_SCAN:
            position = match.end()
            continue
        yield marker, start, position
        if marker == _SCAN:
            pattern = _MARKER_AFTER_SCAN


def _orientation(data: bytes, segments: list[Segment]) -> int:
    for marker, start, end in segments:
        if marker == _EXIF and data.startswith(_EXIF_PREFIX, start + 4):
            return read_orientation(data[start + 4 + len(_EXIF_PREFIX) : end])
    return 1
