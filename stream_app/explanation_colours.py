"""Signed colours that people who see colours differently can tell apart: orange for, blue against."""

from collections.abc import Iterator, Sequence

from schemas.explanations import Explanation, TextAttribution, TextField

FOR = (230, 130, 20)
AGAINST = (40, 110, 190)


def strength(attribution: float, largest: float) -> float:
    """How strong its colour is, from 0 to 1, beside the largest attribution there is."""
    return min(1.0, abs(attribution) / largest) if largest > 0 else 0.0


def largest_attribution(explanations: Sequence[Explanation], *, image: bool) -> float:
    """The largest absolute value among all spans of text, or all cells of pictures."""
    if image:
        cells = (each.image.attributions for each in explanations if each.image is not None)
        return max((abs(cell) for grid in cells for row in grid for cell in row), default=0.0)
    return max((abs(span.attribution) for each in explanations for span in each.text), default=0.0)


def rgb(attribution: float, largest: float) -> tuple[int, int, int]:
    """The colour over white; 0 is white."""
    share = strength(attribution, largest)
    red, green, blue = (
        round(255 + (channel - 255) * share) for channel in (FOR if attribution > 0 else AGAINST)
    )
    return red, green, blue


def pieces(
    explanation: Explanation, field: TextField, text: str
) -> Iterator[tuple[str, TextAttribution | None]]:
    """A field in order, cut at its spans; what lies between them comes with None."""
    done = 0
    for span in explanation.text:
        if span.field is not field:
            continue
        if span.start > done:
            yield text[done : span.start], None
        yield text[span.start : span.end], span
        done = span.end
    if done < len(text):
        yield text[done:], None
