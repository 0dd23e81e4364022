"""From the bytes of any file to a square of RGB pixels: the one decoder, for training and for serving.

The picture is turned as its EXIF orientation says and brought to the square: scaled to fit and put in its
middle on white, the ground of catalogue photos, unless the model wants it cropped or stretched. Transparent
pixels become white, too. Colour profiles are ignored and numbers
taken for sRGB, CMYK is read as Adobe writes it (inverted), samples of 16 bits lose their lower half, and of
several frames the first is taken. A JPEG is read at a fraction of its size where that is still large enough.

Pillow's plugins are called by name, not through `Image.open`, so no other format is ever tried.

A few bytes can announce many pixels. Memory is bounded by what one large picture takes (`ImageLimits`), in
however many threads: two that are held whole are never decoded at the same time.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)
from pydantic import BaseModel, ConfigDict, Field

from models.errors import ImageError, ImageReason
from models.image.formats import Container, ImageFormat, open_container

__all__ = ["ImageLimits", "Resize", "SquareOnPicture", "decode_image", "locate_square"]

_PLUGINS: Final[dict[ImageFormat, type[ImageFile.ImageFile]]] = {
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.PNG: PngImagePlugin.PngImageFile,
    ImageFormat.GIF: GifImagePlugin.GifImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
}
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
"""Orientations that swap width and height."""
_WHITE: Final = (255, 255, 255)

# A hostile progressive JPEG goes over all its pixels thousands of times, an honest one about ten times.
_MAX_SCANS_OF_LARGEST: Final = 16
_MAX_SIDE_PX: Final = 65_535
"""The longest side that a JPEG can have; resizing takes memory by the longer side, not by the pixels."""
_SMALL_PIXELS: Final = 4_000_000
"""Pictures of up to so many pixels are decoded side by side, whatever their format."""
_LARGE_PICTURES: Final = Lock()
_STRIP_PIXELS: Final = 1_000_000
"""Pixels that are laid on white at a time."""
_MAX_BEYOND: Final = 8
"""How many squares long a picture is made at most before it is cropped to one; a longer one is squeezed."""


class Resize(StrEnum):
    """How a picture that is no square becomes one."""

    FIT = "fit"
    """All of it is seen, with white beside it."""
    CROP = "crop"
    """Its middle is seen, without what is beyond the square."""
    STRETCH = "stretch"
    """All of it is seen, out of proportion."""


class ImageLimits(BaseModel):
    """How much work one picture may be."""

    model_config = ConfigDict(frozen=True)

    max_image_bytes: int = Field(10 * 1024 * 1024, gt=0, description="Largest picture file, in bytes.")
    max_image_pixels: int = Field(
        50_000_000, gt=0, description="Most pixels of a picture, as its header announces them."
    )
    max_whole_pixels: int = Field(
        25_000_000,
        gt=0,
        description="Most pixels of a picture that is no JPEG and so is read whole, at up to 20 bytes each.",
    )
    max_batch_seconds: float = Field(
        30.0,
        gt=0,
        description="Longest time, in seconds, for a batch's pictures; those not begun by then are dropped.",
    )


def decode_image(
    data: bytes, size_px: int, limits: ImageLimits, resize: Resize = Resize.FIT
) -> NDArray[np.uint8]:
    """The picture of a JPEG, MPO, PNG, GIF, WebP or BMP file, uint8 of shape (size_px, size_px, 3).

    Depends on nothing but its arguments and may run in any number of threads; Pillow works without the lock.

    Raises:
        ImageError: with the reason; nothing else, whatever the bytes are.
    """
    if len(data) > limits.max_image_bytes:
        raise ImageError(
            ImageReason.TOO_LARGE, f"the picture has {len(data)} bytes, {limits.max_image_bytes} are allowed"
        )
    container = open_container(data)
    _check_size(container, limits)
    try:
        with _turn(container):
            return _decode(container, size_px, resize)
    except Exception as error:  # Pillow raises almost anything on damaged files
        raise _as_image_error(error, container) from error


@dataclass(frozen=True, slots=True)
class SquareOnPicture:
    """Where the square that a model sees lies on the picture as people see it, in pixels of the picture.

    Attributes:
        picture_width: as its EXIF orientation says.
        picture_height: likewise.
        left: of the square; below 0 where there is white beside the picture.
        top: likewise.
        width: of the square.
        height: of the square; unlike its width where the picture was stretched.
    """

    picture_width: int
    picture_height: int
    left: float
    top: float
    width: float
    height: float


def locate_square(data: bytes, size_px: int, resize: Resize = Resize.FIT) -> SquareOnPicture:
    """Where the square of `decode_image` lies on the picture of a file that it has decoded.

    Raises:
        ImageError: the bytes are none of the formats.
    """
    container = open_container(data)
    width, height = container.width, container.height
    scaled = _scaled(width, height, size_px, resize)
    if container.orientation in _SIDEWAYS:
        width, height, scaled = height, width, scaled[::-1]
    across, down = width / scaled[0], height / scaled[1]
    return SquareOnPicture(
        picture_width=width,
        picture_height=height,
        left=-((size_px - scaled[0]) // 2) * across,
        top=-((size_px - scaled[1]) // 2) * down,
        width=size_px * across,
        height=size_px * down,
    )


def _check_size(container: Container, limits: ImageLimits) -> None:
    size = f"{container.width} x {container.height} pixels"
    if container.width <= 0 or container.height <= 0:
        raise ImageError(ImageReason.CORRUPT, f"the picture is {size}")
    if max(container.width, container.height) > _MAX_SIDE_PX:
        raise ImageError(
            ImageReason.TOO_MANY_PIXELS, f"the picture has {size}, {_MAX_SIDE_PX} are allowed for a side"
        )
    allowed = limits.max_image_pixels
    if container.image_format is not ImageFormat.JPEG:
        allowed = min(allowed, limits.max_whole_pixels)
    if container.num_pixels > allowed:
        raise ImageError(
            ImageReason.TOO_MANY_PIXELS,
            f"the picture has {size}, {allowed} are allowed for {container.image_format}",
        )
    if container.num_pixels * container.num_scans > limits.max_image_pixels * _MAX_SCANS_OF_LARGEST:
        raise ImageError(
            ImageReason.TOO_MANY_PIXELS, f"the picture goes over its pixels {container.num_scans} times"
        )


def _as_image_error(error: Exception, container: Container) -> ImageError:
    reason = ImageReason.TRUNCATED if "truncated" in str(error) else ImageReason.CORRUPT
    fault = f"{type(error).__name__}: {str(error)[:80]}"
    return ImageError(reason, f"the {container.image_format} file cannot be decoded ({fault})")


def _turn(container: Container) -> AbstractContextManager[object]:
    """Entered once it is this picture's turn to be in memory."""
    if container.is_decoded_whole and container.num_pixels > _SMALL_PIXELS:
        return _LARGE_PICTURES
    return nullcontext()


def _decode(container: Container, size_px: int, resize: Resize) -> NDArray[np.uint8]:
    scaled = _scaled(container.width, container.height, size_px, resize)
    with _PLUGINS[container.image_format](BytesIO(container.data)) as picture:
        if picture.size != (container.width, container.height):  # a second header, larger than the first
            raise ValueError(f"its parts say {container.width} x {container.height} and {picture.size}")
        picture.draft(None, scaled)
        rgb = _to_rgb(picture, container.bit_depth).resize(scaled, Image.Resampling.BILINEAR)
    if container.orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[container.orientation])
    square = Image.new("RGB", (size_px, size_px), _WHITE)
    square.paste(rgb, ((size_px - rgb.width) // 2, (size_px - rgb.height) // 2))
    return np.array(square)


def _scaled(width: int, height: int, size_px: int, resize: Resize) -> tuple[int, int]:
    """The size of the whole picture when it fits the square, covers it, or is it."""
    if resize is Resize.STRETCH:
        return size_px, size_px
    if resize is Resize.CROP:
        scale = size_px / min(width, height)
        return _capped(width * scale, size_px), _capped(height * scale, size_px)
    scale = size_px / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _capped(length: float, size_px: int) -> int:
    return min(round(length), _MAX_BEYOND * size_px)


def _to_rgb(picture: ImageFile.ImageFile, bit_depth: int) -> Image.Image:
    picture.load()
    image = _eight_bits(picture, bit_depth)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    on_white = Image.new("RGB", image.size, _WHITE)
    num_rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, num_rows):
        below = min(top + num_rows, image.height)
        strip = image.crop((0, top, image.width, below)).convert("RGBA")
        on_white.paste(strip, (0, top), mask=strip)
    return on_white


def _eight_bits(image: Image.Image, bit_depth: int) -> Image.Image:
    """The same picture with samples of 8 bits, and its transparent colour, if any, told in them."""
    key = image.info.get("transparency")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "1":
        image = image.convert("L")
    if isinstance(key, int | tuple) and image.mode in ("L", "RGB"):
        samples = [_sample_in_eight_bits(sample, bit_depth) for sample in np.atleast_1d(key).tolist()]
        image.info["transparency"] = samples[0] if len(samples) == 1 else tuple(samples)
    return image


def _sample_in_eight_bits(sample: int, bit_depth: int) -> int:
    return sample >> 8 if bit_depth == 16 else sample * 255 // (2**bit_depth - 1)
