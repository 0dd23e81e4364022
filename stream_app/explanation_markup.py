"""An explanation as HTML, for a page of its own and for the console: escaped, and without scripts."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from schemas.explanations import CategoryExplained, Explanation, Frame, ImageAttribution, TextField
from stream_app.explanation_colours import AGAINST, FOR, largest_attribution, pieces, strength

__all__ = ["STYLE", "explanation_markup"]

_TYPES = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"GI": "gif", b"RI": "webp", b"BM": "bmp"}

STYLE = """
.explanation h2 { font-size: 1.1rem; margin: 0; padding: 0; }
.explanation section { border-top: 1px solid rgb(128 128 128 / .4); padding: 1rem 0; }
.explanation p.field { overflow-wrap: anywhere; white-space: pre-wrap; margin: .5rem 0; }
.explanation p.field b { font-weight: 400; opacity: .75; display: block; font-size: .8rem; }
.explanation p.field span { border-radius: 3px; position: relative; }
.explanation table { border-collapse: collapse; width: 100%; max-width: 40rem; }
.explanation td { border: 0; padding: .15rem .5rem .15rem 0; }
.explanation td:first-child { width: 8rem; overflow-wrap: anywhere; }
.explanation td.number { text-align: right; width: 4rem; }
.explanation div.bar { height: .9rem; border-radius: 2px; min-width: 1px; }
.explanation figure { margin: .5rem 0; max-width: 26rem; border: 1px solid rgb(128 128 128 / .4);
  position: relative; }
.explanation figure img, .explanation figure div { position: absolute; max-width: none; }
.explanation figure i { position: relative; } .explanation figure div { display: grid; }
.explanation [data-value]:is(:hover, :focus) { outline: 2px solid currentColor; z-index: 1; }
.explanation [data-value]:is(:hover, :focus)::after { content: attr(data-value); position: absolute; left: 0;
  bottom: 100%; padding: 0 .3rem; background: #222; color: #fff; font: .8rem/1.4 system-ui, sans-serif; }
.explanation footer { opacity: .75; font-size: .85rem; border-top: 1px solid rgb(128 128 128 / .4);
  padding-top: .5rem; }
"""
"""Numbers come by pointing, by tapping and with the tab key alike; colours of text are those around it."""

Bar = tuple[str, str, float, float]
"""Label, number, and where its bar begins and ends; one that ends left of its beginning is blue."""


def explanation_markup(
    answer: CategoryExplained,
    texts: tuple[str, str],
    image: bytes | None,
    *,
    probabilities: Sequence[float] = (),
) -> str:
    """What `STYLE` styles: how to read it, bars, and a section for each category.

    Args:
        answer: what was found.
        texts: title and description as they were explained.
        image: the bytes of the picture, which go into the markup.
        probabilities: of the explained categories, in the same order, where they are to be shown.
    """
    sections = [
        _section(number, explanation, answer.explanations, texts, image)
        for number, explanation in enumerate(answer.explanations)
    ]
    shown = _probabilities(answer.explanations, probabilities) if probabilities else ""
    methods = "; ".join(escape(method) for method in (answer.method.text, answer.method.image) if method)
    return (
        '<div class="explanation">'
        f'<p><span style="background:{_background(1, 1)}">Orange</span> speaks for a category, '
        f'<span style="background:{_background(-1, 1)}">blue</span> against it; point at a word or a part of '
        "the picture, or tap it, for its number in logits.</p>\n"
        f"{shown}\n" + "\n".join(sections) + "\n<footer>"
        f"{methods}; evaluations: {answer.method.evaluations}; base value and attributions add up "
        f"to the logit within {answer.additivity_error:.0e}.</footer></div>"
    )


def _probabilities(explanations: Sequence[Explanation], probabilities: Sequence[float]) -> str:
    """Bars of the categories, each a link to its section."""
    return _bars(
        (f'<a href="#category-{number}">{_name(explanation)}</a>', f"{probability:.1%}", 0.0, probability)
        for number, (explanation, probability) in enumerate(zip(explanations, probabilities, strict=True))
    )


def _section(
    number: int,
    explanation: Explanation,
    all_of_them: Sequence[Explanation],
    texts: tuple[str, str],
    image: bytes | None,
) -> str:
    of_text = largest_attribution(all_of_them, image=False)
    of_image = largest_attribution(all_of_them, image=True)
    fields = [
        _field(explanation, field, text, of_text)
        for field, text in zip(TextField, texts, strict=True)
        if text
    ]
    picture = ""
    if explanation.image is not None and image is not None:
        picture = _picture(explanation.image, image, of_image)
    return (
        f'<section id="category-{number}"><h2>{_name(explanation)}</h2>'
        f"{_waterfall(explanation)}{''.join(fields)}{picture}</section>"
    )


def _name(explanation: Explanation) -> str:
    return escape(f"{explanation.category.code} {explanation.category.label}")


def _waterfall(explanation: Explanation) -> str:
    """From the base value, over what each modality adds, to the logit."""
    shares = explanation.by_modality
    with_text = explanation.base_value + shares.text
    steps = (
        ("base", 0.0, explanation.base_value),
        ("text", explanation.base_value, with_text),
        ("picture", with_text, with_text + shares.image),
        ("logit", 0.0, explanation.value),
    )
    return _bars((label, f"{end - begin:+.2f}", begin, end) for label, begin, end in steps)


def _bars(bars: Iterable[Bar]) -> str:
    bars = list(bars)
    ends = [0.0, *(place for _, _, begin, end in bars for place in (begin, end))]
    low = min(ends)
    percent = 100 / ((max(ends) - low) or 1.0)
    rows = [
        f'<tr><td>{label}</td><td class="number">{number}</td><td><div class="bar" style="'
        f"margin-left:{(min(begin, end) - low) * percent:.1f}%;width:{abs(end - begin) * percent:.1f}%;"
        f'background:{_css(FOR if end >= begin else AGAINST, 1.0)}"></div></td></tr>'
        for label, number, begin, end in bars
    ]
    return f"<table>{''.join(rows)}</table>"


def _field(explanation: Explanation, field: TextField, text: str, largest: float) -> str:
    marked = [
        escape(piece)
        if span is None
        else f'<span tabindex="0" data-value="{span.attribution:+.3f}" '
        f'style="background:{_background(span.attribution, largest)}">{escape(piece)}</span>'
        for piece, span in pieces(explanation, field, text)
    ]
    return f'<p class="field"><b>{field}</b>{"".join(marked)}</p>'


def _picture(attribution: ImageAttribution, image: bytes, largest: float) -> str:
    """The picture and the grid on it; the figure is as large as both together."""
    frame = attribution.frame or Frame(left=0, top=0, width=attribution.width, height=attribution.height)
    x, y = min(0.0, frame.left), min(0.0, frame.top)
    across = max(attribution.width, frame.left + frame.width) - x
    down = max(attribution.height, frame.top + frame.height) - y

    def place(left: float, top: float, width: float, height: float) -> str:
        return (
            f"left:{100 * (left - x) / across:.3f}%;top:{100 * (top - y) / down:.3f}%;"
            f"width:{100 * width / across:.3f}%;height:{100 * height / down:.3f}%"
        )

    cells = [
        f'<i tabindex="0" data-value="{value:+.3f}" style="background:{_background(value, largest)}"></i>'
        for row in attribution.attributions
        for value in row
    ]
    rows, columns = attribution.grid
    kind = next((name for magic, name in _TYPES.items() if image.startswith(magic)), "jpeg")
    data = base64.b64encode(image).decode()
    return (
        f'<figure style="aspect-ratio:{across:.0f}/{down:.0f}">'
        f'<img alt="the product" style="{place(0, 0, attribution.width, attribution.height)}" '
        f'src="data:image/{kind};base64,{data}">'
        f'<div style="{place(frame.left, frame.top, frame.width, frame.height)};'
        f'grid-template:repeat({rows},1fr)/repeat({columns},1fr)">{"".join(cells)}</div></figure>'
    )


def _background(attribution: float, largest: float) -> str:
    return _css(FOR if attribution > 0 else AGAINST, 0.75 * strength(attribution, largest))


def _css(colour: tuple[int, int, int], opacity: float) -> str:
    red, green, blue = colour
    return f"rgba({red},{green},{blue},{opacity:.3f})"
