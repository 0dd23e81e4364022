"""Texts of products and gateways, shown as they are: no Markdown, no HTML, no formulas in them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import streamlit as st

from stream_app.explanation_colours import FOR

__all__ = ["bars", "plain"]

MAX_CHARACTERS: Final = 5_000
"""Shown of one text."""

_CELL: Final = "padding:.2rem .6rem .2rem 0;border:0;vertical-align:middle"


def plain(text: str, *, is_heading: bool = False, is_small: bool = False) -> None:
    """Show a text, as a heading or in small print where that is said."""
    shown = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + " …"
    size = "font-size:1.4rem;font-weight:600;line-height:1.3;" if is_heading else ""
    size = "font-size:.875rem;opacity:.8;" if is_small else size
    element = "h3" if is_heading else "p"
    st.html(
        f'<{element} style="{size}margin:0;padding:0;white-space:pre-wrap;overflow-wrap:anywhere">'
        f"{escape(shown) or '&nbsp;'}</{element}>"
    )


def bars(rows: Sequence[tuple[str, str, float]], *, caption: str) -> None:
    """Show a table of labels, numbers and bars.

    Args:
        rows: label, number as text, and length of the bar, 0 to 1.
        caption: what the table tells, for those who hear it.
    """
    colour = f"rgb{FOR}"
    body = "".join(
        f'<tr style="border:0"><th scope="row" style="{_CELL};text-align:left;font-weight:400;'
        f'overflow-wrap:anywhere;width:40%">{escape(label)}</th>'
        f'<td style="{_CELL};text-align:right;width:4.5rem">{escape(number)}</td>'
        f'<td style="{_CELL}"><div style="height:.8rem;border-radius:2px;min-width:1px;'
        f'width:{100 * min(1.0, max(0.0, length)):.1f}%;background:{colour}"></div></td></tr>'
        for label, number, length in rows
    )
    st.html(
        f'<table style="width:100%;border-collapse:collapse;border:0" aria-label="{escape(caption)}">'
        f"<tbody>{body}</tbody></table>"
    )
