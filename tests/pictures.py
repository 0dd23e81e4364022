"""Picture files of every kind that catalogues hold, and of every kind that does harm; built, not stored."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from models.errors import ImageReason

RED, WHITE = (220, 20, 20), (255, 255, 255)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SOI = b"\xff\xd8"


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The file of an image."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def plain(colour: Any = RED, mode: str = "RGB", size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.new(mode, size, colour)


def red_cmyk(*, inverted: bool = True) -> Image.Image:
    """As Adobe writes it: Pillow inverts such files when it writes and when it reads them."""
    samples = (35, 235, 235, 0) if inverted else (220, 20, 20, 255)
    return Image.merge("CMYK", [Image.new("L", (40, 40), value) for value in samples])


def sixteen_bits() -> bytes:
    return saved(Image.fromarray(np.full((40, 40), 0x8040, np.uint16)))


def with_exif(form: str, orientation: int, image: Image.Image | None = None, **options: Any) -> bytes:
    """A file that says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image or plain(), form, exif=exif, **options)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, *, colour_type: int = 2, bit_depth: int = 8) -> bytes:
    fields = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return png_chunk(b"IHDR", fields)


def png(header: bytes, *more: bytes, pixels: bytes) -> bytes:
    """A PNG of chunks as they are given; `pixels` are compressed."""
    return b"".join((PNG_SIGNATURE, header, *more, png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b"")))


@cache
def zeros(num_bytes: int) -> bytes:
    """So many zeros, compressed to a thousandth."""
    deflate = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [deflate.compress(block) for _ in range(num_bytes // len(block))]
    return b"".join([*parts, deflate.compress(bytes(num_bytes % len(block))), deflate.flush()])


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments put in behind its start."""
    return b"".join((jpeg[:2], *segments, jpeg[2:]))


def gif(num_frames: int, width: int = 16, height: int = 16) -> bytes:
    """A red GIF of frames of one pixel, 15 bytes each; it need not end."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes((*RED, 0, 0, 0))
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + screen + frame * num_frames + b"\x3b"


def bmp(width: int, height: int, *, compression: int, content: bytes) -> bytes:
    """A BMP of 8 bits a pixel with a palette of blacks."""
    start = 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(content), 0, 0, 256, 0)
    file = b"BM" + struct.pack("<IHHI", start + len(content), 0, 0, start)
    return file + header + bytes(1024) + content


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 60, 3), np.uint8))
JPEG = saved(NOISE, "JPEG", quality=90)
PROGRESSIVE = saved(NOISE, "JPEG", quality=90, progressive=True)
SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"

USABLE: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "jpeg": (saved(plain(), "JPEG", quality=95), RED),
    "progressive jpeg": (saved(plain(), "JPEG", quality=95, progressive=True), RED),
    "png": (saved(plain()), RED),
    "gif": (saved(plain().quantize(), "GIF"), RED),
    "webp": (saved(plain(), "WEBP", lossless=True), RED),
    "bmp": (saved(plain(), "BMP"), RED),
    "grey": (saved(plain(90, "L")), (90, 90, 90)),
    "black and white": (saved(plain(1, "1")), WHITE),
    "palette": (saved(plain().quantize()), RED),
    "CMYK jpeg": (saved(red_cmyk(), "JPEG", quality=95), RED),
    "16 bits": (sixteen_bits(), (0x80, 0x80, 0x80)),
    "two frames of a camera": (
        saved(plain(), "MPO", save_all=True, append_images=[plain((0, 0, 255))], quality=95),
        RED,
    ),
    "animated gif": (
        saved(plain().quantize(), "GIF", save_all=True, append_images=[plain((0, 0, 255)).quantize()] * 29),
        RED,
    ),
    "animated webp": (
        saved(plain(), "WEBP", lossless=True, save_all=True, append_images=[plain((0, 0, 255))] * 9),
        RED,
    ),
    "animated png": (saved(plain(), save_all=True, append_images=[plain((0, 0, 255))] * 9), RED),
    "a broken colour profile": (saved(plain(), "JPEG", quality=95, icc_profile=b"garbage"), RED),
    "a broken colour profile in a png": (saved(plain(), icc_profile=b"garbage"), RED),
    "trailing bytes": (saved(plain(), "JPEG", quality=95) + b"<?php evil(); ?>" * 300, RED),
    "trailing bytes behind a png": (saved(plain()) + b"<?php evil(); ?>" * 300, RED),
    "one pixel": (saved(plain(size=(1, 1))), RED),
}
"""Files, and the colour that every pixel of theirs has."""

UNUSABLE: dict[str, tuple[bytes, ImageReason]] = {
    "empty": (b"", ImageReason.EMPTY),
    "half a jpeg": (JPEG[: len(JPEG) // 2], ImageReason.TRUNCATED),
    "a jpeg without its last 2 bytes": (JPEG[:-2], ImageReason.TRUNCATED),
    "half a progressive jpeg": (PROGRESSIVE[: len(PROGRESSIVE) // 2], ImageReason.TRUNCATED),
    "half a png": (saved(NOISE)[:2000], ImageReason.TRUNCATED),
    "half a gif": (saved(NOISE.quantize(), "GIF")[:1500], ImageReason.TRUNCATED),
    "half a webp": (saved(NOISE, "WEBP", lossless=True)[:1500], ImageReason.TRUNCATED),
    "html": (b"<!DOCTYPE html><html>404</html>", ImageReason.UNSUPPORTED_FORMAT),
    "svg": (SVG, ImageReason.UNSUPPORTED_FORMAT),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, ImageReason.UNSUPPORTED_FORMAT),
    "avif": (saved(plain(), "AVIF"), ImageReason.UNSUPPORTED_FORMAT),
    "tiff": (saved(plain(), "TIFF"), ImageReason.UNSUPPORTED_FORMAT),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 40, ImageReason.UNSUPPORTED_FORMAT),
    "icon": (saved(plain(), "ICO"), ImageReason.UNSUPPORTED_FORMAT),
    "photoshop": (b"8BPS" + b"\0" * 40, ImageReason.UNSUPPORTED_FORMAT),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ImageReason.UNSUPPORTED_FORMAT),
    "pickle": (b"\x80\x04\x95" + b"\0" * 40, ImageReason.UNSUPPORTED_FORMAT),
    "run-length encoded bmp": (
        bmp(40, 40, compression=1, content=b"\x28\1\0\0" * 40),
        ImageReason.UNSUPPORTED_FORMAT,
    ),
}
"""Files that are no usable picture, and the reason that is told."""


def _text_bomb(kind: bytes, before: bytes) -> bytes:
    bomb = png_chunk(kind, before + zeros(200_000_000))
    return png(png_header(40, 40, colour_type=0), bomb * 10, pixels=zlib.compress(bytes(41 * 40)))


def _sof(width: int, height: int) -> bytes:
    return jpeg_segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + b"\1\x22\0\2\x11\1\3\x11\1")


_GREY = zlib.compress(bytes(41 * 40))

BOMBS: dict[str, Callable[[], bytes]] = {
    "900 megapixels in 70 bytes": lambda: png(png_header(30_000, 30_000), pixels=b"x"),
    "a second header, of 400 megapixels": lambda: png(
        png_header(40, 40), png_header(20_000, 20_000), pixels=zeros(2**20)
    ),
    "40 million pixels in one row": lambda: png(
        png_header(40_000_000, 1, colour_type=0), pixels=zeros(2**20)
    ),
    "40 million rows of one pixel": lambda: png(
        png_header(1, 40_000_000, colour_type=0), pixels=zeros(2**20)
    ),
    "2 GB of text, zTXt": lambda: _text_bomb(b"zTXt", b"a\0\0"),
    "2 GB of text, iTXt": lambda: _text_bomb(b"iTXt", b"a\0\1\0\0\0"),
    "2 GB of colour profile": lambda: _text_bomb(b"iCCP", b"a\0\0"),
    "600,000 chunks": lambda: png(
        png_header(40, 40, colour_type=0), png_chunk(b"tEXt", b"a\0b") * 600_000, pixels=_GREY
    ),
    "more pixels than announced": lambda: png(png_header(40, 40), pixels=zeros(200_000_000)),
    "9 MB of EXIF": lambda: with_segments(
        JPEG, jpeg_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60_000)) * 150
    ),
    "9 MB of colour profile": lambda: with_segments(
        JPEG, jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 145
    ),
    "a second frame header": lambda: with_segments(JPEG, _sof(40, 40), _sof(60_000, 60_000)),
    "nothing but 0xFF": lambda: JPEG_SOI + b"\xff" * 10_000_000 + b"\0",
    "0xFF within the pixels": lambda: JPEG[:-2] + b"\xff" * 5_000_000 + b"\0" + JPEG[-2:],
    "5 million markers": lambda: JPEG_SOI + b"\xff\xd0" * 5_000_000,
    "1,000 scans": lambda: _scans(1_000),
    "20,000 frames in 300 KB": lambda: gif(20_000),
    "3,600 megapixels in 35 bytes": lambda: gif(1, 60_000, 60_000),
    "5 million blocks of a comment": lambda: (
        b"GIF89a\x10\0\x10\0\0\0\0" + (b"\x21\xfe" + b"\1x" * 49_000 + b"\0") * 100
    ),
    "run-length pixels": lambda: bmp(5_000, 5_000, compression=1, content=b"\1\1" * 4_900_000),
    "25 megapixels in 38 bytes": lambda: saved(plain(size=(5_000, 5_000)), "WEBP", lossless=True, method=0),
    "49 megapixels in 38 bytes": lambda: saved(plain(size=(7_000, 7_000)), "WEBP", lossless=True, method=0),
    "25 megapixels with transparency": lambda: saved(Image.new("P", (5_000, 5_000)), transparency=b"\0"),
    "49 megapixels, progressive": lambda: saved(plain(size=(7_000, 7_000)), "JPEG", progressive=True),
}
"""Files that are small, and would take much time or memory."""


def _scans(num_scans: int) -> bytes:
    """A progressive JPEG of 4 megapixels whose last scan is repeated."""
    file = saved(Image.new("L", (2_000, 2_000)), "JPEG", progressive=True)
    last = file.rindex(b"\xff\xda")
    return file[:last] + file[last:-2] * num_scans + file[-2:]
