"""What the pages of one visitor work with: the gateway, their key, and what they have asked for already.

Everything a visitor sees is kept in their own session; only connections and settings are shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import httpx
import streamlit as st

from stream_app.console.answers import Categories, Limits
from stream_app.console.client import GatewayClient, http_client
from stream_app.console.settings import ConsoleSettings
from stream_app.secret_files import read_secret_file

__all__ = [
    "KEY",
    "categories",
    "configured",
    "forget",
    "gateway",
    "limits",
    "remembered",
    "settings",
    "upload_limit_mib",
]

T = TypeVar("T")

KEY: Final = "api_key"
"""Where a visitor's own key is, in their session."""
REMEMBERED_SECONDS: Final = 60.0

_REMEMBERED: Final = "remembered"


@dataclass(frozen=True, slots=True)
class _Shared:
    settings: ConsoleSettings
    http: httpx.Client
    key: str | None = field(repr=False)


_shared: list[_Shared] = []


@contextmanager
def configured(chosen: ConsoleSettings) -> Iterator[None]:
    """Say which gateway the pages of this process ask, for the length of a `with` block.

    Raises:
        SettingsError: the file of the key cannot be used.
    """
    key = _key_of(chosen)
    with http_client(chosen.console_gateway_url, chosen.console_timeout_seconds) as http:
        _shared.append(_Shared(chosen, http, key))
        try:
            yield
        finally:
            _shared.clear()


def settings() -> ConsoleSettings:
    """Of this console."""
    return _shared[0].settings


def gateway() -> GatewayClient:
    """The gateway, asked with the visitor's key, or else the console's."""
    shared = _shared[0]
    own: str | None = st.session_state.get(KEY)
    return GatewayClient(shared.http, own or shared.key)


def _key_of(chosen: ConsoleSettings) -> str | None:
    if chosen.console_api_key_file:
        return read_secret_file(chosen.console_api_key_file, variable="SHELVER_CONSOLE_API_KEY_FILE")
    return chosen.console_api_key.get_secret_value() if chosen.console_api_key else None


class _Remembered(NamedTuple):
    value: object
    until: float


def remembered(name: str, ask: Callable[[], T], *, seconds: float = REMEMBERED_SECONDS) -> T:
    """What was asked for a moment ago, or ask now; so that moving a control asks for nothing again.

    Raises:
        GatewayError: it cannot be asked for; that is not remembered.
    """
    known: dict[str, _Remembered] = st.session_state.setdefault(_REMEMBERED, {})
    found = known.get(name)
    if found is None or found.until < time.monotonic():
        found = known[name] = _Remembered(ask(), time.monotonic() + seconds)
    value: T = found.value  # type: ignore[assignment] # a name stands for one type of answer
    return value


def forget(*names: str) -> None:
    """Ask again next time; for everything where no name is given."""
    known: dict[str, _Remembered] = st.session_state.get(_REMEMBERED, {})
    for name in names or tuple(known):
        known.pop(name, None)


def limits() -> Limits:
    """How much the gateway takes.

    Raises:
        GatewayError: it cannot be asked.
    """
    return remembered("limits", gateway().limits, seconds=600)


def categories() -> Categories:
    """What the serving version knows.

    Raises:
        GatewayError: it cannot be asked.
    """
    return remembered("categories", gateway().categories)


def upload_limit_mib(taken: int) -> int:
    """Largest upload in whole mebibytes, as Streamlit counts: what is taken, or the setting if less."""
    return max(1, min(taken, settings().console_upload_bytes) // 2**20)
