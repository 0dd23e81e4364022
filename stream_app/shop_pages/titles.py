"""What a page puts around the title of its product (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

__all__ = ["is_price", "squashed", "trimmed", "without_clutter"]

_SEPARATOR: Final = re.compile(r"(\s+[-\u2013\u2014:\u00b7\u2022\u00bb]\s+|\s*\|\s*)")
_AMOUNT: Final = r"(?:[\u20ac$\u00a3]\s?\d[\d\s.,]*|\d[\d\s.,]*(?:\u20ac|eur\b|euros?\b|\$|\u00a3)\s?\d{0,2})"
_PRICE: Final = re.compile(rf"(?:prix|price)?\s*:?\s*{_AMOUNT}|prix|price", re.IGNORECASE)
_FOR_A_PRICE: Final = re.compile(
    rf"\s+(?:\u00e0 partir de|\u00e0|d\u00e8s|pour|from|for|at)\s+{_AMOUNT}$", re.IGNORECASE
)


def without_clutter(title: str, site_names: Iterable[str]) -> str:
    """A title of a page without the name of its shop and the price, at either end."""
    names = {squashed(name) for name in site_names} - {""}
    return _FOR_A_PRICE.sub("", trimmed(title, lambda part: is_price(part) or squashed(part) in names))


def trimmed(title: str, is_clutter: Callable[[str], bool]) -> str:
    """A title without such parts at its ends; parts are what stands between `|`, ` - ` and the like.

    One part is always left.
    """
    parts = _SEPARATOR.split(title)
    while len(parts) > 1 and is_clutter(parts[-1]):
        del parts[-2:]
    while len(parts) > 1 and is_clutter(parts[0]):
        del parts[:2]
    return "".join(parts)


def is_price(text: str) -> bool:
    """Say whether a text is an amount of money, or announces one, and nothing else."""
    return _PRICE.fullmatch(text.strip()) is not None


def squashed(text: str) -> str:
    """Letters and digits alone, in which names of shops and of their hosts agree."""
    return "".join(filter(str.isalnum, text.casefold()))
