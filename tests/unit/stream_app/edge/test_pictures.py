"""Pictures that are refused at the door, by the checks of the workers."""

import base64

import pytest

from models.errors import ImageError, ImageReason
from schemas.products import ImageReference
from stream_app.edge.pictures import check_picture
from stream_app.image_fetching import ImageAddressSettings
from tests.pictures import plain, saved

DEFAULT = ImageAddressSettings()


def refused(settings: ImageAddressSettings = DEFAULT, **image: str) -> ImageReason | None:
    try:
        check_picture(ImageReference(**image), settings)
    except ImageError as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://shop.example/a.jpg", None),
        ("https://93.184.216.34/a.jpg", None),
        ("http://shop.example/a.jpg", ImageReason.BLOCKED),
        ("file:///etc/passwd", ImageReason.BLOCKED),
        ("a.jpg", ImageReason.INVALID_URL),
        ("https://127.0.0.1/a.jpg", ImageReason.BLOCKED),
        ("https://10.1.2.3/a.jpg", ImageReason.BLOCKED),
        ("https://169.254.169.254/latest", ImageReason.BLOCKED),
        ("https://[::1]/a.jpg", ImageReason.BLOCKED),
        ("https://[::ffff:10.0.0.1]/a.jpg", ImageReason.BLOCKED),
        ("https://2130706433/a.jpg", ImageReason.BLOCKED),
        ("https://localhost/a.jpg", ImageReason.BLOCKED),
        ("https://a.LOCALHOST./a.jpg", ImageReason.BLOCKED),
        ("https://user:password@shop.example/a.jpg", ImageReason.BLOCKED),
    ],
)
def test_an_address_that_no_worker_fetches_is_refused(url: str, reason: ImageReason | None) -> None:
    assert refused(url=url) is reason


def test_what_the_operator_allows_is_allowed() -> None:
    settings = ImageAddressSettings.model_validate(
        {
            "image_allow_http": True,
            "image_allowed_networks": ["10.0.0.0/8"],
            "image_allowed_hosts": ["10.1.2.3"],
        }
    )
    assert refused(settings, url="http://10.1.2.3/a.jpg") is None
    assert refused(settings, url="http://10.1.2.4/a.jpg") is ImageReason.BLOCKED


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(plain()), None),
        (saved(plain(), "JPEG"), None),
        (b"", ImageReason.EMPTY),
        (b"<!DOCTYPE html><html></html>", ImageReason.UNSUPPORTED_FORMAT),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", ImageReason.UNSUPPORTED_FORMAT),
        (saved(plain())[:60], ImageReason.TRUNCATED),
    ],
)
def test_a_file_that_is_no_picture_is_refused(content: bytes, reason: ImageReason | None) -> None:
    assert refused(data=base64.b64encode(content).decode()) is reason


def test_data_that_is_not_base64_is_refused() -> None:
    assert refused(data="%%%") is ImageReason.INVALID_BASE64
    check_picture(None, DEFAULT)
