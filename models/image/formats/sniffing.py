"""Which format a file is, by its first bytes: names, extensions and content types are not asked."""

import re
import struct
from collections.abc import Callable
from typing import Final

from models.errors import ImageError, ImageReason
from models.image.formats.base import Container, ImageFormat, truncated
from models.image.formats.bmp import read_bmp
from models.image.formats.gif import read_gif
from models.image.formats.jpeg import read_jpeg
from models.image.formats.png import read_png
from models.image.formats.webp import read_webp

__all__ = ["open_container"]

_READERS: Final[dict[ImageFormat, tuple[re.Pattern[bytes], Callable[[bytes], Container]]]] = {
    ImageFormat.JPEG: (re.compile(rb"\xff\xd8\xff"), read_jpeg),
    ImageFormat.PNG: (re.compile(rb"\x89PNG\r\n\x1a\n"), read_png),
    ImageFormat.GIF: (re.compile(rb"GIF8[79]a"), read_gif),
    ImageFormat.WEBP: (re.compile(rb"RIFF....WEBP", re.DOTALL), read_webp),
    ImageFormat.BMP: (
        re.compile(rb"BM....\0\0\0\0....[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
        read_bmp,
    ),
}

_FOREIGN: Final[dict[str, re.Pattern[bytes]]] = {
    "avif": re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL),
    "heif": re.compile(rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL),
    "mp4": re.compile(rb"....ftyp", re.DOTALL),
    "jpeg_xl": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "jpeg_2000": re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
    "tiff": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "ico": re.compile(rb"\0\0[\x01\x02]\0"),
    "psd": re.compile(rb"8BPS"),
    "pdf": re.compile(rb"%PDF-"),
    "zip": re.compile(rb"PK\x03\x04"),
    "gzip": re.compile(rb"\x1f\x8b"),
    "svg": re.compile(rb"(?:\xef\xbb\xbf)?\s*+<(?:[?!][^>]*+>\s*+<)*+svg\b", re.IGNORECASE),
    "html": re.compile(rb"(?:\xef\xbb\xbf)?\s*+<(?:!doctype html|html|head|body|script)\b", re.IGNORECASE),
    "xml": re.compile(rb"(?:\xef\xbb\xbf)?\s*+<\?xml\b", re.IGNORECASE),
    "json": re.compile(rb"(?:\xef\xbb\xbf)?\s*+[{\[]"),
    "text": re.compile(rb"[\t\n\r\x20-\x7e]{16}"),
}
_SNIFFED_BYTES: Final = 1024


def open_container(data: bytes) -> Container:
    """The first picture of a file; time linear in its size, for ordinary files 2 GB a second and more.

    Raises:
        ImageError: `empty`, `unsupported_format` (the message names what it is), `truncated` or `corrupt`.
    """
    if not data:
        raise ImageError(ImageReason.EMPTY, "the picture has no bytes")
    for image_format, (magic, read) in _READERS.items():
        if magic.match(data):
            try:
                return read(data)
            except (struct.error, IndexError) as error:
                raise truncated(image_format) from error
    allowed = ", ".join(ImageFormat)
    raise ImageError(
        ImageReason.UNSUPPORTED_FORMAT, f"unsupported_format:{_name_foreign(data)}, only {allowed} are read"
    )


def _name_foreign(data: bytes) -> str:
    start = data[:_SNIFFED_BYTES]
    return next((name for name, magic in _FOREIGN.items() if magic.match(start)), "unknown")
