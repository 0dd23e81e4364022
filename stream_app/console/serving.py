"""The console as a process: a socket, signals, an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import streamlit as st
from streamlit import net_util
from streamlit.web.bootstrap import load_config_options

from stream_app.console import session
from stream_app.console.settings import ConsoleSettings
from stream_app.http_serving import listen, serve_app, url_of

__all__ = ["serve"]

logger = logging.getLogger(__name__)

SCRIPT: Final = Path(__file__).with_name("app.py")
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with


async def serve(settings: ConsoleSettings, *, on_listening: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: of the console.
        on_listening: told the address once it is listened on.

    Raises:
        SettingsError: the address or port cannot be had, or the file of the key cannot be used.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(session.configured(settings))
        listener = listen(settings.console_host, settings.console_port, "console")
        stack.enter_context(contextlib.closing(listener))
        load_config_options(_options(settings, listener.getsockname()[1]))
        _ask_nobody_for_our_address()
        on_listening(url_of(listener))
        await serve_app(
            st.App(SCRIPT, on_script_error=_tell),
            listener,
            stopping=asyncio.Event(),
            stop_seconds=settings.console_stop_seconds,
            has_websockets=True,
        )


def _options(settings: ConsoleSettings, port: int) -> dict[str, Any]:
    """Streamlit's own, by their names with `_` for `.`; files and variables of its own do not change them."""
    return {
        "server_address": settings.console_host,
        "server_port": port,
        # A page of somebody else whose name leads here (DNS rebinding) does not reach it.
        "server_allowedHosts": _names(settings),
        "server_headless": True,
        "server_fileWatcherType": "none",
        "server_maxUploadSize": settings.console_upload_bytes // 2**20,
        "browser_gatherUsageStats": False,
        "client_showErrorDetails": "none",
        "client_toolbarMode": "viewer",
        "runner_magicEnabled": False,
        "logger_level": "warning",
        "theme_light_primaryColor": "#b35900",
        "theme_dark_primaryColor": "#ff9f40",
    }


def _ask_nobody_for_our_address() -> None:
    """Streamlit asks a service on the internet, on the event loop, when a page of another origin connects."""
    net_util.get_external_ip = lambda: None


def _names(settings: ConsoleSettings) -> list[str]:
    """By which the console may be reached; any, where there are none."""
    own = [] if settings.console_host in EVERYWHERE else [settings.console_host]
    known = [*own, *settings.console_allowed_hosts]
    return [*LOOPBACK_NAMES, *known] if known else []


def _tell(error: Exception) -> bool:
    """Log a fault of ours, and show no more of it than that."""
    logger.error("a page cannot be drawn", exc_info=error)
    st.error("The log of the console tells what. Reload the page to go on.", title="A fault of the console")
    return True
