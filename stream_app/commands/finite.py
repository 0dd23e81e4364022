"""Numbers on a command line that are some: ranges let infinity pass, and those of older Typers NaN."""

from __future__ import annotations

import math

import typer


def finite(value: float | None) -> float | None:
    """An option's callback: the same number, or none.

    Raises:
        BadParameter: it is infinite or not a number.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value
