"""Pictures of every kind that catalogues hold decode right, or it is told why not."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.errors import ImageError, ImageReason
from models.image.decoding import ImageLimits, Resize, decode_image
from models.inputs import Product
from models.preprocessing import Preprocessor
from tests.pictures import RED, UNUSABLE, USABLE, WHITE, plain, red_cmyk, saved, with_exif
from tests.tiny_models import TinyImage

SIZE = 32


def decoded(data: bytes, **limits: int) -> NDArray[np.uint8]:
    return decode_image(data, SIZE, ImageLimits(**limits))


def assert_colour(pixels_HWK: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int = 6) -> None:
    assert pixels_HWK.shape == (SIZE, SIZE, 3)
    assert pixels_HWK.dtype == np.uint8
    assert np.abs(pixels_HWK.astype(int) - colour).max() <= tolerance


@pytest.mark.parametrize("name", USABLE)
def test_a_picture_has_its_colours(name: str) -> None:
    data, colour = USABLE[name]
    assert_colour(decoded(data), colour)


def test_a_cmyk_picture_is_read_as_adobe_writes_it_whatever_its_channels_are() -> None:
    assert_colour(decoded(saved(red_cmyk(inverted=False), "JPEG", quality=95)), (0, 0, 0))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(),
        b"!" * 99,
    ],
    ids=["sRGB", "another", "garbage"],
)
def test_colour_profiles_are_ignored(form: str, profile: bytes) -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    np.testing.assert_array_equal(
        decoded(saved(picture, form, icc_profile=profile)), decoded(saved(picture, form))
    )


TRANSPARENT = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
HALF = Image.new("RGBA", (40, 40), (255, 0, 0, 128))
COLOUR_KEY = saved(plain((1, 2, 3)), transparency=(1, 2, 3))
GREY_ALPHA = saved(Image.new("LA", (40, 40), (0, 0)))


def transparent_palette() -> bytes:
    return saved(plain(0, "P"), transparency=bytes([0]))


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (saved(TRANSPARENT), WHITE),
        (saved(TRANSPARENT, "WEBP", lossless=True), WHITE),
        (saved(HALF), (255, 127, 127)),
        (GREY_ALPHA, WHITE),
        (COLOUR_KEY, WHITE),
        (transparent_palette(), WHITE),
    ],
    ids=["RGBA", "WebP", "half", "LA", "colour key", "palette"],
)
def test_what_is_transparent_is_white_as_the_ground_of_a_catalogue(
    data: bytes, colour: tuple[int, int, int]
) -> None:
    assert_colour(decoded(data), colour)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_camera_held_in_any_way_gives_the_same_picture(orientation: int, form: str) -> None:
    upright = Image.new("RGB", (40, 40), (0, 0, 0))
    upright.paste(RED, (0, 0, 20, 20))
    upright.paste((20, 20, 220), (20, 0, 40, 20))
    turned = _turned_back(upright, orientation)
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
    difference = decoded(with_exif(form, orientation, turned, **options)).astype(int) - decoded(
        saved(upright)
    )
    assert np.abs(difference).mean() < 4


def _turned_back(upright: Image.Image, orientation: int) -> Image.Image:
    """What the sensor saw when the picture is upright only after it is turned as told."""
    undone = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return upright.transpose(undone[orientation]) if orientation in undone else upright


def test_a_wide_picture_lies_in_the_middle_on_white() -> None:
    pixels_HWK = decoded(saved(plain(size=(64, 16))))
    assert_colour_of(pixels_HWK[12:20], RED)
    assert_colour_of(pixels_HWK[:11], WHITE)
    assert_colour_of(pixels_HWK[21:], WHITE)


@pytest.mark.parametrize("size", [(64, 16), (16, 64), (4000, 2)])
def test_a_cropped_picture_shows_its_middle_and_a_stretched_one_all(size: tuple[int, int]) -> None:
    width, height = size
    picture = plain(WHITE, size=size)
    middle = (
        (width // 4, 0, width - width // 4, height)
        if width > height
        else (0, height // 4, width, height - height // 4)
    )
    picture.paste(RED, middle)
    cropped = decode_image(saved(picture), SIZE, ImageLimits(), Resize.CROP)
    assert_colour(cropped, RED)
    stretched = decode_image(saved(picture), SIZE, ImageLimits(), Resize.STRETCH)
    assert (np.abs(stretched.astype(int) - RED).max(axis=2) < 60).mean() == pytest.approx(0.5, abs=0.1)


def assert_colour_of(part_HWK: NDArray[np.uint8], colour: tuple[int, int, int]) -> None:
    assert np.abs(part_HWK.astype(int) - colour).max() <= 6


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_is_no_usable_picture_is_told_by_its_bytes(name: str) -> None:
    data, reason = UNUSABLE[name]
    with pytest.raises(ImageError) as caught:
        decoded(data)
    assert caught.value.reason is reason


def test_limits_hold_before_anything_is_decoded() -> None:
    data = saved(plain(size=(400, 400)))
    for limits, reason in (
        ({"max_image_bytes": len(data) - 1}, ImageReason.TOO_LARGE),
        ({"max_image_pixels": 399 * 400}, ImageReason.TOO_MANY_PIXELS),
    ):
        with pytest.raises(ImageError) as caught:
            decoded(data, **limits)
        assert caught.value.reason is reason


@pytest.mark.parametrize("name", USABLE)
def test_serving_sees_the_pixels_that_training_saw(name: str) -> None:
    encoder = TinyImage()
    prepared = Preprocessor(None, encoder).prepare([Product(image=USABLE[name][0])])
    trained_on = decode_image(USABLE[name][0], encoder.image_size, ImageLimits())
    np.testing.assert_array_equal(prepared.pixels_NHWK[0], trained_on)
