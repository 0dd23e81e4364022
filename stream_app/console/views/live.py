"""*Live*: what streams through now."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

import streamlit as st

from stream_app.console import session
from stream_app.console.answers import Live, LiveAssignment
from stream_app.console.client import GatewayError
from stream_app.console.pictures import inline_bytes, thumbnail
from stream_app.console.problems import show_error
from stream_app.console.results import category_name
from stream_app.console.text import bars, plain

__all__ = ["page"]

EVERY_SECONDS: Final = 2.0
NUM_PRODUCTS: Final = 6
"""Whose listings and pictures are shown; each is read from Kafka once."""
NUM_CATEGORIES: Final = 10
NUM_RATES: Final = 60
MAX_SEEN: Final = 60
SIDE_PX: Final = 160

_WATCH: Final = "watch"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is shown of a listing."""

    title: str
    picture: bytes | None
    has_address: bool


@dataclass(slots=True)
class _Watch:
    """What a visitor has seen so far."""

    live: Live | None = None
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=NUM_RATES))
    seen: OrderedDict[str, _Seen | None] = field(default_factory=OrderedDict)


def page() -> None:
    """Draw the page, and what changes on it every two seconds."""
    st.title("Live")
    is_paused = st.toggle("Pause", key="live_paused", help="What is shown stays, and nothing is asked for.")
    watch: _Watch = st.session_state.setdefault(_WATCH, _Watch())
    st.fragment(_follow, run_every=None if is_paused else EVERY_SECONDS)(watch, is_paused)


def _follow(watch: _Watch, is_paused: bool) -> None:
    if not is_paused or watch.live is None:
        try:
            watch.live = session.gateway().live()
        except GatewayError as error:
            show_error(error)
            return
        watch.rates.append(watch.live.assigned_per_second)
    live = watch.live
    _show_numbers(live, watch.rates)
    if not live.latest and not live.failed:
        st.info(
            "Nothing has come out yet. Send a product under *Try a product*, publish a catalogue with"
            " `shelver publish`, or check that `shelver worker` runs."
        )
        return
    products, categories = st.columns([3, 2], gap="large")
    with products:
        st.subheader("Latest products", anchor=False)
        for assignment in live.latest[:NUM_PRODUCTS]:
            _show_product(assignment, _listing(watch, assignment.event_id))
    with categories:
        st.subheader("Categories", anchor=False)
        _show_categories(live)
    _show_dead_letters(live)


def _show_numbers(live: Live, rates: deque[float]) -> None:
    rate, assigned, explained, dead = st.columns(4)
    rate.metric(
        "Categories a second",
        f"{live.assigned_per_second:g}",
        chart_data=list(rates),
        chart_type="area",
        help="Over the last minute.",
    )
    assigned.metric("Categories", live.assigned, help="Since this gateway runs.")
    explained.metric("Explanations", live.explained)
    dead.metric("Dead letters", live.dead_letters)


def _listing(watch: _Watch, event_id: str) -> _Seen | None:
    """What is shown of a listing, read once; None where it cannot be had."""
    if event_id in watch.seen:
        watch.seen.move_to_end(event_id)
        return watch.seen[event_id]
    try:
        listing = session.gateway().listing(event_id)
    except GatewayError:
        found = None
    else:
        content = inline_bytes(listing.image)
        found = _Seen(
            listing.title,
            None if content is None else thumbnail(content, SIDE_PX),
            listing.image is not None and listing.image.url is not None,
        )
    watch.seen[event_id] = found
    while len(watch.seen) > MAX_SEEN:
        watch.seen.popitem(last=False)
    return found


def _show_product(assignment: LiveAssignment, seen: _Seen | None) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        if seen is not None and seen.picture is not None:
            st.image(seen.picture, width=72, alt="The picture of the product")
        with st.container():
            category = assignment.category
            plain((seen.title if seen else "") or f"Product {assignment.product_id}")
            plain(f"{category_name(category.code, category.label)}, {category.probability:.0%} sure")
            plain(f"{assignment.at:%H:%M:%S} UTC, picture {_picture_use(assignment, seen)}", is_small=True)


def _picture_use(assignment: LiveAssignment, seen: _Seen | None) -> str:
    reason = f" ({assignment.image_reason})" if assignment.image_reason else ""
    where = ", at an address" if seen is not None and seen.has_address else ""
    return f"{assignment.modalities.image}{reason}{where}"


def _show_categories(live: Live) -> None:
    total = sum(each.count for each in live.categories)
    most = max((each.count for each in live.categories), default=1)
    bars(
        [
            (category_name(each.category.code, each.category.label), str(each.count), each.count / most)
            for each in live.categories[:NUM_CATEGORIES]
        ],
        caption="How often each category came out lately",
    )
    if len(live.categories) > NUM_CATEGORIES:
        plain(f"and {len(live.categories) - NUM_CATEGORIES} more, of the latest {total}", is_small=True)


def _show_dead_letters(live: Live) -> None:
    st.subheader("Dead letters", anchor=False)
    if not live.failed:
        st.success("None; every event could be served.")
        return
    st.dataframe(
        [
            {
                "Time (UTC)": f"{each.at:%Y-%m-%d %H:%M:%S}",
                "Product": each.product_id,
                "Stage": each.stage,
                "Reason": each.reason,
                "Why": each.message,
                "Source": each.source,
            }
            for each in live.failed
        ],
        hide_index=True,
        alt="The latest dead letters with their reasons",
    )
    st.caption("`shelver dead-letters replay` sends them again once the cause is gone.")
