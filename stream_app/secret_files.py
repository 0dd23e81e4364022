"""Secrets that a setting names a file for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stream_app.errors import SettingsError

__all__ = ["cause", "read_secret_file"]

MAX_SECRET_BYTES: Final = 64 * 1024


def read_secret_file(path: str | Path, *, variable: str) -> str:
    """The secret in a file; line feeds at its end do not count.

    Args:
        path: of the file.
        variable: that names it, for messages.

    Raises:
        SettingsError: it cannot be read, is empty, too large or not UTF-8; its content is not shown.
    """
    shown = str(path)[:200]
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{variable}: {shown} cannot be read ({cause(error)})") from None
    try:
        secret = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {shown} is not UTF-8") from None
    if not secret or len(content) > MAX_SECRET_BYTES:
        raise SettingsError(f"{variable}: {shown} is empty or larger than {MAX_SECRET_BYTES} bytes")
    return secret


def cause(error: Exception) -> str:
    """Why a file cannot be used, in a few words without its content."""
    return getattr(error, "strerror", None) or type(error).__name__
