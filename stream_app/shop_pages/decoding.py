"""From the bytes of a page to its text, whatever encoding it claims (pure).

As the Encoding and HTML standards of WHATWG have it: a byte order mark counts, then the header, then what the
page says itself; Latin-1 and ASCII mean Windows-1252. Beyond them, since servers are often set up wrong: if
nothing, UTF-8 or an encoding of one byte a character is claimed, the bytes tell whether they are UTF-8.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["decode_page"]

MAX_PRESCAN_BYTES: Final = 4_096

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WINDOWS: Final = "cp1252"
_ONE_BYTE: Final = frozenset(
    {f"cp{number}" for number in range(1250, 1259)}
    | {f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)}
    | {"koi8-r", "koi8-u", "cp874", "cp866", "mac-roman"}
)
_SEVERAL_BYTES: Final = frozenset(
    {
        "utf-8",
        "utf-16-le",
        "utf-16-be",
        "gbk",
        "gb18030",
        "big5",
        "euc_jp",
        "shift_jis",
        "iso2022_jp",
        "euc_kr",
    }
)
_MEANS: Final = {
    "ascii": _WINDOWS,
    "iso8859-1": _WINDOWS,
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gbk",
    "utf-16": "utf-16-le",
}
_IN_HEADER: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE | re.ASCII)
_IN_PAGE: Final = re.compile(rb"<meta[^>]{1,400}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_IN_DECLARATION: Final = re.compile(
    rb"\s*<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})", re.IGNORECASE
)


def decode_page(body: bytes, content_type: str) -> str:
    """The text of a page; what its encoding does not have becomes U+FFFD, NUL is left out.

    Args:
        body: the page.
        content_type: the header as sent, or empty.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return _text(body[len(mark) :], encoding)
    claimed = _claimed(body, content_type) or "utf-8"
    if claimed == "utf-8" or claimed in _ONE_BYTE:
        text = _text(body, "utf-8")
        if _was_utf_8(text):
            return text
    return _text(body, _WINDOWS if claimed == "utf-8" else claimed)


def _claimed(body: bytes, content_type: str) -> str | None:
    if (match := _IN_HEADER.search(content_type)) and (encoding := _known(match[1])):
        return encoding
    head = body[:MAX_PRESCAN_BYTES]
    for pattern in (_IN_DECLARATION.match, _IN_PAGE.search):
        if (found := pattern(head)) and (encoding := _known(found[1].decode("ascii", "replace"))):
            # Who could read this in ASCII did not read UTF-16.
            return "utf-8" if encoding.startswith("utf-16") else encoding
    return None


def _known(label: str) -> str | None:
    """The codec of a label; Python's others (punycode, zlib, idna) are none for pages, and some are slow."""
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _MEANS.get(name, name)
    return name if name in _ONE_BYTE or name in _SEVERAL_BYTES else None


def _was_utf_8(text: str) -> bool:
    """Whether most characters beyond ASCII could be decoded: a page of UTF-8 may have a few errors."""
    num_wrong = text.count("\N{REPLACEMENT CHARACTER}")
    return num_wrong * 2 <= len(text) - len(text.encode("ascii", "ignore"))


def _text(body: bytes, encoding: str) -> str:
    return body.decode(encoding, "replace").replace("\0", "")
