"""The codecs that producers compress records with: all must be there, and none may unpack without a bound."""

import zlib
from collections.abc import Callable
from functools import partial

from aiokafka import codec
from aiokafka.codec import _detect_xerial_stream

from stream_app.errors import SettingsError

__all__ = ["CODEC_NAMES", "UnpackError", "require_codecs", "unpack"]

_CODECS = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}
CODEC_NAMES = ("none", *_CODECS)
"""By the number that a batch carries (KIP-98, KIP-110)."""

_GZIP = 16 + zlib.MAX_WBITS
_USUAL_RATIO = 16
_XERIAL_HEADER_BYTES = 16
_XERIAL_LENGTH_BYTES = 4


class UnpackError(Exception):
    """Records cannot be unpacked: they are more than the bound, or damaged."""


def require_codecs() -> None:
    """Make sure that records can be read however they are compressed.

    Without its library a compressed record stops its partition for ever, at the first fetch.

    Raises:
        SettingsError: a library is missing.
    """
    missing = [name for name, is_there in _CODECS.items() if not is_there()]
    if missing:
        raise SettingsError(
            f"records compressed with {', '.join(missing)} could not be read: cramjam is missing; "
            "install shelver with its dependencies, or aiokafka[snappy,lz4,zstd]"
        )


def unpack(codec_number: int, data: bytes, max_bytes: int) -> bytes:
    """The records of a compressed batch. Takes memory for `max_bytes` at most, whatever the data says.

    Args:
        codec_number: as the batch carries it, 1 to 4.
        data: the compressed records.
        max_bytes: the most that they may unpack to.

    Raises:
        UnpackError: they are more, or cannot be unpacked.
    """
    try:
        return _UNPACKERS[codec_number](data, max_bytes)
    except (ValueError, zlib.error, codec.cramjam.DecompressionError, LookupError) as error:
        raise UnpackError(str(error)) from error


def _gunzip(data: bytes, max_bytes: int) -> bytes:
    unpacked = b""
    while data:
        member = zlib.decompressobj(_GZIP)
        unpacked += member.decompress(data, max_bytes - len(unpacked) + 1)
        if len(unpacked) > max_bytes:
            raise ValueError(f"more than {max_bytes} bytes")
        if not member.eof:
            raise ValueError("its end is missing")
        data = member.unused_data
    return unpacked


def _unsnap(data: bytes, max_bytes: int) -> bytes:
    if not _detect_xerial_stream(data):
        return _unsnap_block(data, max_bytes)
    blocks, place, num_bytes = [], _XERIAL_HEADER_BYTES, 0
    while place < len(data):
        start = place + _XERIAL_LENGTH_BYTES
        place = start + int.from_bytes(data[place:start], "big", signed=True)
        if place < start:
            raise ValueError("a block has a negative length")
        blocks.append(_unsnap_block(data[start:place], max_bytes - num_bytes))
        num_bytes += len(blocks[-1])
    return b"".join(blocks)


def _unsnap_block(data: bytes, max_bytes: int) -> bytes:
    if codec.cramjam.snappy.decompress_raw_len(data) > max_bytes:
        raise ValueError(f"more than {max_bytes} bytes")
    return bytes(codec.cramjam.snappy.decompress_raw(data))


def _decompress(name: str, data: bytes, max_bytes: int) -> bytes:
    """Unpack into a buffer of a usual size first, then of the largest; too small a one fails."""
    decompress_into = getattr(codec.cramjam, name).decompress_into
    usual = min(max_bytes, _USUAL_RATIO * len(data) + 1024)
    try:
        return _filled(decompress_into, data, usual)
    except codec.cramjam.DecompressionError:
        if usual == max_bytes:
            raise
    return _filled(decompress_into, data, max_bytes)


def _filled(decompress_into: Callable[[bytes, bytearray], int], data: bytes, num_bytes: int) -> bytes:
    buffer = bytearray(num_bytes)
    return bytes(memoryview(buffer)[: decompress_into(data, buffer)])


_UNPACKERS: dict[int, Callable[[bytes, int], bytes]] = {
    CODEC_NAMES.index("gzip"): _gunzip,
    CODEC_NAMES.index("snappy"): _unsnap,
    CODEC_NAMES.index("lz4"): partial(_decompress, "lz4"),
    CODEC_NAMES.index("zstd"): partial(_decompress, "zstd"),
}
