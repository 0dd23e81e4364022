"""The JSON in a page's scripts, as broken as shops write it (pure)."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["read_json"]

_DECODER: Final = json.JSONDecoder(strict=False)  # line breaks within strings are common
_START: Final = re.compile(r"[{\[]")
_WRAPPING: Final = re.compile(r"<!\[CDATA\[|\]\]>|<!--|-->")
_TRAILING_COMMA: Final = re.compile(r",\s*(?=[}\]])")


def read_json(text: str) -> Any:
    """The first object or array in a script, or None when there is none that can be read.

    Marks of comments and CDATA around it, what follows it, trailing commas and entities for its quotes are
    put up with. Time and memory are linear in the length of the text; nesting beyond Python's recursion limit
    is not read.
    """
    for mend in (_as_it_is, _unwrapped, _without_trailing_commas):
        try:
            text = mend(text)
            start = _START.search(text)
            return _DECODER.raw_decode(text, start.start())[0] if start else None
        except (ValueError, RecursionError):
            continue
    return None


def _as_it_is(text: str) -> str:
    return text


def _unwrapped(text: str) -> str:
    return _WRAPPING.sub("", text if '"' in text else text.replace("&quot;", '"').replace("&#34;", '"'))


def _without_trailing_commas(text: str) -> str:
    return _TRAILING_COMMA.sub("", text)
