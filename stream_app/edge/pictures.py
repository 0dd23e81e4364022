"""Pictures that are refused at the door: addresses that no worker would fetch, and files that are none."""

from __future__ import annotations

import base64
import binascii
from ipaddress import ip_address

from models.errors import ImageError, ImageReason
from models.image.formats import open_container
from schemas.products import ImageReference
from stream_app.image_fetching import ImageAddressSettings, as_image_error
from stream_app.web.urls import is_fetchable, origin, parse_url

__all__ = ["check_address", "check_file", "check_picture"]


def check_picture(image: ImageReference | None, settings: ImageAddressSettings) -> None:
    """Make sure that a picture can be one, as far as that can be told without fetching it.

    Raises:
        ImageError: it cannot.
    """
    if image is None:
        return
    if image.url is not None:
        check_address(image.url, settings)
    if image.data is not None:
        try:
            content = base64.b64decode(image.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageError(ImageReason.INVALID_BASE64, "its data is not base64") from error
        check_file(content)


def check_address(url: str, settings: ImageAddressSettings) -> None:
    """Make sure that an address is one that workers fetch from; names are only looked up by them.

    Raises:
        ImageError: `invalid_url` or `blocked`.
    """
    with as_image_error():
        address = parse_url(
            url, allow_http=settings.image_allow_http, allowed_hosts=settings.image_allowed_hosts
        )
    host = (address.raw_host or "").lower().rstrip(".")
    try:
        number = str(ip_address(host))
    except ValueError:
        # RFC 6761: these names always mean the machine that looks them up.
        number = "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else ""
    if number and not is_fetchable(number, settings.image_allowed_networks):
        raise ImageError(ImageReason.BLOCKED, f"{origin(address)} is not a public address")


def check_file(content: bytes) -> None:
    """Make sure that a file is a picture of a kind that is read, by its bytes.

    Raises:
        ImageError: `empty`, `unsupported_format`, `truncated` or `corrupt`.
    """
    open_container(content)
