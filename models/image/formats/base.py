"""What every format's reader answers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from models.errors import ImageError, ImageReason

__all__ = ["MAX_PARTS", "Container", "ImageFormat", "corrupt", "truncated"]

MAX_PARTS: Final = 50_000
"""Segments, chunks or blocks of a file that are walked; ordinary files of 10 MB have a few thousand."""


class ImageFormat(StrEnum):
    """The formats that are decoded."""

    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    BMP = "bmp"


@dataclass(frozen=True, slots=True)
class Container:
    """The first picture of a file.

    Attributes:
        image_format: what `data` is.
        data: a file with that picture, and as little else as is easily left out.
        width: in pixels, as stored.
        height: in pixels, as stored.
        orientation: 1 to 8 as in EXIF: how the stored picture is to be turned.
        bit_depth: bits of a sample.
        num_scans: how often a decoder goes over all pixels; more than once in a progressive JPEG.
    """

    image_format: ImageFormat
    data: bytes
    width: int
    height: int
    orientation: int = 1
    bit_depth: int = 8
    num_scans: int = 1

    @property
    def num_pixels(self) -> int:
        """Of the picture as stored."""
        return self.width * self.height

    @property
    def is_decoded_whole(self) -> bool:
        """Whether a decoder holds all its pixels at once; only a JPEG of one scan is shrunk row by row."""
        return self.image_format is not ImageFormat.JPEG or self.num_scans > 1


def truncated(image_format: ImageFormat) -> ImageError:
    """The error of a file that ends too soon."""
    return ImageError(ImageReason.TRUNCATED, f"the {image_format} file ends before its picture does")


def corrupt(image_format: ImageFormat, fault: str) -> ImageError:
    """The error of a file of a known format that makes no sense."""
    return ImageError(ImageReason.CORRUPT, f"the {image_format} file is damaged: {fault}")
