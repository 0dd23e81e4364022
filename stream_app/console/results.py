"""A category, as several pages show it."""

from __future__ import annotations

from typing import Final

from schemas.assignments import CategoryAssigned, ImageUse, TextUse
from stream_app.console.text import bars, plain

__all__ = ["category_name", "show_category"]

BEST: Final = 5


def category_name(code: int | str, label: str) -> str:
    """What a category is called, with its code where that says more."""
    return label if str(code) == label else f"{label} ({code})"


def show_category(assigned: CategoryAssigned) -> None:
    """Show the category, how sure the model is of it and of the next ones, and what it rests on."""
    best = (assigned.category, *assigned.alternatives)[:BEST]
    plain(category_name(assigned.category.code, assigned.category.label), is_heading=True)
    bars(
        [
            (category_name(each.code, each.label), f"{each.probability:.1%}", each.probability)
            for each in best
        ],
        caption="Probability of each category",
    )
    plain(f"By {assigned.model.name}@{assigned.model.version}. {_evidence(assigned)}", is_small=True)


def _evidence(assigned: CategoryAssigned) -> str:
    text = {
        TextUse.USED: "The text was read.",
        TextUse.TRUNCATED: "The beginning of the text was read: it is longer than what the model reads.",
        TextUse.ABSENT: "There was no text.",
    }[assigned.modalities.text]
    image = {
        ImageUse.USED: "The picture was looked at.",
        ImageUse.ABSENT: "There was no picture.",
        ImageUse.SKIPPED: "The picture was not looked at, as the text alone is certain enough.",
        ImageUse.UNAVAILABLE: f"The picture could not be had ({assigned.image_reason or 'no reason told'}).",
    }[assigned.modalities.image]
    return f"{text} {image}"
