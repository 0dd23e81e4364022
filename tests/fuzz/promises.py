"""What holds whatever the bytes are; each function raises when one of its promises is broken."""

import base64
import json
import struct
import zlib
from typing import NoReturn

import numpy as np
from yarl import URL

from models.errors import ImageError, ImageReason
from models.image.decoding import ImageLimits, Resize, decode_image, locate_square
from models.text.cleaning import clean, clean_and_cut, clean_and_trace
from schemas.base import Message
from schemas.codec import Headers, decode, encode
from schemas.corrections import CategoryCorrected
from schemas.errors import MessageError
from schemas.explanations import ExplanationRequested
from schemas.products import ImageReference, ProductListed
from stream_app.preparing import product_of
from stream_app.shop_pages.documents import host_of
from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.extraction import read_page
from stream_app.shop_pages.products import ListedProduct
from stream_app.web.answers import Answer
from stream_app.web.errors import FetchError, FetchReason
from stream_app.web.urls import check_url, is_fetchable, origin, parse_url, read_url

__all__ = ["HEADERS_FOLLOW", "keep_page_promises", "keep_picture_promises", "keep_record_promises"]

HEADERS_FOLLOW = b"\n--headers--\n"
"""Between the value of a record and the content of its headers."""

PAGE_ADDRESS = URL("https://shop.example/p/42")
SIZE_PX = 16
LIMITS = ImageLimits(max_image_pixels=1_000_000, max_whole_pixels=1_000_000)
READ_HEADERS = ("ce_id", "ce_time", "content-type")
MESSAGES: tuple[type[Message], ...] = (ProductListed, ExplanationRequested, CategoryCorrected)


def keep_record_promises(data: bytes) -> None:
    """Any value and headers are a message, which survives writing and reading, or a MessageError."""
    value, _, content = data.partition(HEADERS_FOLLOW)
    headers = [(name, content) for name in READ_HEADERS] if content else []
    for message_type in MESSAGES:
        message = _decode_message(message_type, value, headers)
        if message is None:
            continue
        written = encode(message)
        json.loads(written, parse_constant=_refuse)
        assert decode(message_type, written, default_event_id="other") == message
        if isinstance(message, ProductListed):
            keep_text_promises(message.title)
            keep_text_promises(message.description or "")
    keep_text_promises(value.decode("utf-8", "surrogateescape" if len(value) % 2 else "replace"))


def _decode_message(message_type: type[Message], value: bytes, headers: Headers) -> Message | None:
    try:
        return decode(message_type, value, headers, default_event_id="t-0-1")
    except MessageError as error:
        told = str(error)
    assert told.isprintable()
    assert len(told) < 1_500
    return None


def keep_text_promises(text: str) -> None:
    """Cleaned text is a fixed point without NUL, and each of its characters has a place in the source."""
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert "\0" not in cleaned
    cleaned.encode()
    for max_characters in (7, 4_096):
        cut, truncated = clean_and_cut(text, max_characters=max_characters)
        assert len(cut) <= max_characters
        assert truncated or cut == cleaned
        traced = clean_and_trace(text, max_characters=max_characters)
        assert traced.text == cut
        assert ((traced.starts_L >= 0) & (traced.starts_L < traced.ends_L)).all()
        assert (traced.ends_L <= len(text)).all()
        assert (np.diff(traced.starts_L) >= 0).all()


def keep_picture_promises(data: bytes) -> None:
    """Any bytes are a picture or an ImageError, as a file, in base64, and as the address of one."""
    for file in (data, with_checksums(data)):
        for resize in Resize:
            _decode(file, resize)
    inline = ImageReference(data=base64.b64encode(data).decode() if len(data) % 2 else data.decode("latin-1"))
    found = product_of(ProductListed(event_id="e", product_id="p", title="", image=inline), {})
    assert found.image is not None or isinstance(found.image_reason, ImageReason)
    _read_address(data.decode("utf-8", "replace"))


def with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right, so that a changed one is read beyond its first chunk."""
    if not data.startswith(b"\x89PNG"):
        return data
    mended, position = bytearray(data), 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(mended)


def _decode(data: bytes, resize: Resize) -> None:
    try:
        pixels_HWK = decode_image(data, SIZE_PX, LIMITS, resize)
    except ImageError as error:
        _check_told(error)
        return
    assert pixels_HWK.shape == (SIZE_PX, SIZE_PX, 3)
    assert pixels_HWK.dtype == np.uint8
    square = locate_square(data, SIZE_PX, resize)
    assert square.width > 0
    assert square.height > 0
    assert square.picture_width * square.picture_height <= LIMITS.max_image_pixels


def _read_address(text: str) -> None:
    is_fetchable(text)
    for url in (text, f"https://{text}", f"https://[{text}]/"):
        try:
            address = parse_url(url, allow_http=True)
            check_url(address.join(read_url(text)), allow_http=False)
        except FetchError as error:
            _check_told(error)
        else:
            assert address.raw_host
            assert str(address.with_fragment(None))
            assert len(origin(address)) < 200


def _check_told(error: ImageError | FetchError | PageError) -> None:
    assert isinstance(error.reason, ImageReason | FetchReason | PageReason)
    assert len(str(error)) < 400


def keep_page_promises(body: bytes) -> None:
    """Any bytes are a page with a product that can be listed, or a PageError."""
    for content_type in ("text/html", "", "text/html; charset=windows-1252"):
        try:
            product = read_page(Answer(PAGE_ADDRESS, content_type, body))
        except PageError as error:
            _check_told(error)
        else:
            _check_product(product)


def _check_product(product: ListedProduct) -> None:
    assert 0 < len(product.title) <= 500
    assert product.description is None or 0 < len(product.description) <= 20_000
    for text in (product.title, product.description or ""):
        assert "\0" not in text
        text.encode()
    for url in (product.address, *product.image_urls):
        assert URL(url).scheme in {"http", "https"}
        url.encode("ascii")
    assert host_of(URL(product.address)) == host_of(PAGE_ADDRESS)


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} was written")
