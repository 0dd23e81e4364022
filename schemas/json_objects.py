r"""Bytes to one JSON object, whoever wrote them: strict where a value could be misread, lenient elsewhere.

Accepted: UTF-8, with or without a byte order mark; the 5-byte framing of a schema registry in front. Integers
of up to 4,300 digits stay exact, other numbers keep their text (`LosslessFloat`), so that one outside the
range of a float, such as `1e400`, only matters to a field that needs it. A name given twice has the value
given last. Escapes that are half a surrogate pair (`\ud83d`, from an emoji cut in two) become U+FFFD, one
for one. Refused: every other encoding, NaN and Infinity anywhere, more than one document, nesting beyond 200.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final

from jiter import from_json

from schemas.errors import FramingError, MalformedError

__all__ = ["parse_object"]

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_FRAMING_BYTES: Final = 5
_SHOWN_BYTES: Final = 40

_ESCAPED_BACKSLASH: Final = rb"\\"
_MASK: Final = b"\0\0"
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def parse_object(value: bytes) -> dict[str, Any]:
    """Return the one JSON object in `value`; numbers that are not integers are `jiter.LosslessFloat`.

    Raises:
        MalformedError: The bytes are not exactly one JSON object in UTF-8.
        FramingError: They start with schema registry framing and what follows is not a JSON object.
    """
    if value[:1] == b"\0":
        return _parse_framed(value)
    return _parse_bare(value)


def _parse_framed(value: bytes) -> dict[str, Any]:
    if len(value) <= _FRAMING_BYTES:
        raise MalformedError(_not_an_object(value, "unexpected zero byte"))
    try:
        return _parse_bare(value[_FRAMING_BYTES:])
    except MalformedError as error:
        if _is_wide_text(value):
            raise MalformedError(_not_an_object(value, "this is UTF-16 or UTF-32")) from error
        schema_id = int.from_bytes(value[1:_FRAMING_BYTES], "big")
        message = (
            f"framed for schema id {schema_id} of a schema registry, but not JSON after the framing; "
            "send JSON, with or without the framing"
        )
        raise FramingError(message, schema_id=schema_id) from error


def _parse_bare(value: bytes) -> dict[str, Any]:
    if value.startswith(_BYTE_ORDER_MARK):
        value = value[len(_BYTE_ORDER_MARK) :]
    try:
        parsed = _parse(value)
    except ValueError as error:
        parsed = _parse_mended(value, error)
    if type(parsed) is not dict:
        raise MalformedError(_not_an_object(value, f"found {_kind(parsed)}"))
    return parsed


def _parse(value: bytes) -> Any:
    return from_json(value, allow_inf_nan=False, float_mode="lossless-float", cache_mode="keys")


def _parse_mended(value: bytes, error: ValueError) -> Any:
    """Parse again with lone surrogates replaced, if there are any."""
    mended = _without_lone_surrogates(value)
    try:
        if mended != value:
            return _parse(mended)
    except ValueError as later:
        error = later
    raise MalformedError(_not_an_object(value, str(error))) from error


def _without_lone_surrogates(value: bytes) -> bytes:
    """Return `value` with each escape that is half a surrogate pair replaced by that of U+FFFD, in O(n).

    Escaped backslashes are masked meanwhile, so that every backslash left starts an escape. The mask is made
    of zero bytes, which JSON cannot hold.
    """
    if b"\0" in value:
        return value
    masked = value.replace(_ESCAPED_BACKSLASH, _MASK)
    return _LONE_SURROGATE.sub(rb"\\ufffd", masked).replace(_MASK, _ESCAPED_BACKSLASH)


def _is_wide_text(value: bytes) -> bool:
    """Whether these bytes, which start with zero, are an object or array in UTF-16 or UTF-32."""
    for encoding in ("utf-16-be", "utf-32-be"):
        with suppress(UnicodeDecodeError):
            if value.decode(encoding).startswith(("{", "[")):
                return True
    return False


def _kind(parsed: object) -> str:
    kinds = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(parsed), "a number")


def _not_an_object(value: bytes, what: str) -> str:
    if not value:
        return "the value is empty; it should be one JSON object in UTF-8"
    shown = repr(value[:_SHOWN_BYTES])[1:] + ("..." if len(value) > _SHOWN_BYTES else "")
    return f"the value {shown} ({len(value)} bytes) should be one JSON object in UTF-8: {what}"
