"""What went wrong, shown so that a visitor knows what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import streamlit as st

from stream_app.console import session
from stream_app.console.answers import Problem
from stream_app.console.client import GatewayError
from stream_app.console.text import plain

__all__ = ["asked", "attempt", "refusal", "show_error", "show_problem", "show_refusal"]

T = TypeVar("T")

_ADVICE: Final = {
    "unreachable": (
        "The gateway does not answer",
        "Start it with `shelver gateway`, or set `SHELVER_CONSOLE_GATEWAY_URL` to its address.",
    ),
    "unreadable": (
        "The gateway's answer cannot be read",
        "Check that `SHELVER_CONSOLE_GATEWAY_URL` is the address of a gateway of the same release.",
    ),
    "unauthorized": (
        "The gateway wants an API key",
        "Enter yours under *API key* in the sidebar, or have `SHELVER_CONSOLE_API_KEY` set.",
    ),
    "forbidden": (
        "The key does not allow this",
        "Use a key with the role that is named below: `submit`, `read` or `train`.",
    ),
    "too-many-requests": ("Too many requests", "Wait a moment, then try again."),
    "too-large": ("Too large", "Send a smaller picture, or its address in place of the file."),
    "unsupported-media-type": (
        "This kind of file is not read",
        "Pictures are JPEG, PNG, GIF, WebP or BMP, whatever their names say.",
    ),
    "blocked-address": (
        "This address may not be fetched",
        "Only public `https` addresses are; fill in the form by hand, or upload the picture.",
    ),
    "dead-letter": (
        "The product cannot be classified",
        "It has become a dead letter; mend what is named below, then send it again.",
    ),
    "invalid": ("Something is not as it should be", "Change what is named below."),
    "refused": ("Refused", "Change what is named below."),
    "conflict": ("Not now, or not like this", "What is named below is in the way."),
    "not-found": ("Not found", "It may not be known to this gateway, or no longer."),
    "unavailable": (
        "Kafka does not answer the gateway",
        "Nothing is lost that was confirmed; try again in a moment.",
    ),
    "method-not-allowed": ("This gateway does not offer that", "Run a gateway of the same release."),
}
_KEPT: Final = "refusals"
_OTHER: Final = ("Something went wrong", "Try again; the log of the gateway tells more.")


def asked(ask: Callable[[], T]) -> T:
    """What the gateway answers; where it does not, show why and draw no more of the page."""
    try:
        return ask()
    except GatewayError as error:
        show_error(error)
        st.button("Try again", icon=":material/refresh:")
        st.stop()


@contextmanager
def attempt(what: str) -> Iterator[None]:
    """Keep what the gateway refuses in the `with` block, to be shown until it is attempted again.

    Args:
        what: is attempted, such as `product`.
    """
    kept: dict[str, GatewayError] = st.session_state.setdefault(_KEPT, {})
    kept.pop(what, None)
    try:
        yield
    except GatewayError as error:
        kept[what] = error


def refusal(what: str) -> GatewayError | None:
    """Why the latest attempt was refused; None where it was not."""
    kept: dict[str, GatewayError] = st.session_state.get(_KEPT, {})
    return kept.get(what)


def show_refusal(what: str, *, title: str | None = None) -> None:
    """Show why the latest attempt was refused, if it was."""
    if (error := refusal(what)) is not None:
        show_error(error, title=title)


def show_error(error: GatewayError, *, title: str | None = None) -> None:
    """Show what the gateway, or the way to it, said; under a title of its own where one is given."""
    _show(error.kind, str(error), error.problem, error.retry_seconds, title)


def show_problem(problem: Problem) -> None:
    """Show what the gateway said of one product."""
    _show(problem.kind, problem.detail, problem)


def _show(
    kind: str,
    detail: str,
    problem: Problem | None,
    retry_seconds: float | None = None,
    title: str | None = None,
) -> None:
    usual_title, advice = _ADVICE.get(kind, _OTHER)
    if kind == "unreachable":
        advice += f" It is `{session.settings().console_gateway_url}` now."
    if retry_seconds:
        advice += f" It asks to wait {retry_seconds:.0f} s."
    with st.container(border=True):
        st.error(advice, title=title or usual_title)
        plain(detail)
        if problem is not None and problem.reason:
            where = f" at the stage {problem.stage}" if problem.stage else ""
            plain(f"Reason: {problem.reason}{where}")
        if problem is not None and problem.request_id and problem.status >= 500:
            plain(f"Request {problem.request_id}")
