"""An explanation as one HTML file that needs nothing else: no script, no font, no network."""

import base64
from collections.abc import Sequence
from html import escape

from schemas.explanations import CategoryExplained, Explanation, ImageAttribution, TextField
from stream_app.explanation_colours import AGAINST, FOR, largest_attribution, pieces, strength

_TYPES = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"GI": "gif", b"RI": "webp", b"BM": "bmp"}

_STYLE = """
body { font: 16px/1.6 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #222;
  background: #fff; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin: 0; }
section { border-top: 1px solid #ccc; padding: 1rem 0; }
p.field { overflow-wrap: anywhere; white-space: pre-wrap; margin: .5rem 0; }
p.field b { font-weight: 400; color: #666; display: block; font-size: .8rem; }
p.field span { border-radius: 3px; }
table { border-collapse: collapse; width: 100%; max-width: 40rem; } td { padding: .15rem .5rem .15rem 0; }
td:first-child { width: 6rem; } td.number { text-align: right; width: 4rem; }
div.bar { height: .9rem; border-radius: 2px; }
figure { margin: .5rem 0; max-width: 26rem; border: 1px solid #ddd; position: relative; overflow: hidden; }
figure img, figure svg { position: absolute; } figure svg { inset: 0; width: 100%; height: 100%; }
footer { color: #666; font-size: .85rem; border-top: 1px solid #ccc; padding-top: .5rem; }
"""


def explanation_page(
    answer: CategoryExplained,
    probabilities: Sequence[float],
    texts: tuple[str, str],
    image: bytes | None,
) -> str:
    """The page.

    Args:
        answer: what was found.
        probabilities: of the explained categories, in the same order.
        texts: title and description as they were explained.
        image: the bytes of the picture, which go into the page.
    """
    name = escape(f"{answer.model.name}@{answer.model.version}")
    sections = [
        _section(explanation, probability, answer.explanations, texts, image)
        for explanation, probability in zip(answer.explanations, probabilities, strict=True)
    ]
    methods = "; ".join(escape(method) for method in (answer.method.text, answer.method.image) if method)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Explained by {name}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>Why this category? {name}</h1>\n"
        f'<p><span style="background:{_background(1, 1)}">Orange</span> speaks for a category, '
        f'<span style="background:{_background(-1, 1)}">blue</span> against it; point at a word or a part of '
        "the picture for its number, in logits.</p>\n" + "\n".join(sections) + "\n<footer>"
        f"{methods}; {answer.method.evaluations} evaluations; base value and attributions add up "
        f"to the logit within {answer.additivity_error:.0e}.</footer>\n</body></html>\n"
    )


def _section(
    explanation: Explanation,
    probability: float,
    all_of_them: Sequence[Explanation],
    texts: tuple[str, str],
    image: bytes | None,
) -> str:
    category = explanation.category
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
        f"<section><h2>{escape(str(category.code))} {escape(category.label)} &middot; {probability:.1%}</h2>"
        f"{_bars(explanation)}{''.join(fields)}{picture}</section>"
    )


def _bars(explanation: Explanation) -> str:
    shares = explanation.by_modality
    parts = (
        ("base", explanation.base_value),
        ("text", shares.text),
        ("picture", shares.image),
        ("logit", explanation.value),
    )
    largest = max(abs(value) for _, value in parts) or 1.0
    return f"<table>{''.join(_bar(label, value, largest) for label, value in parts)}</table>"


def _bar(label: str, value: float, largest: float) -> str:
    colour = _css(FOR if value > 0 else AGAINST, 1.0)
    width = f"{100 * abs(value) / largest:.1f}%"
    return (
        f'<tr><td>{label}</td><td class="number">{value:+.2f}</td>'
        f'<td><div class="bar" style="width:{width};background:{colour}"></div></td></tr>'
    )


def _field(explanation: Explanation, field: TextField, text: str, largest: float) -> str:
    marked = [
        escape(piece)
        if span is None
        else f'<span title="{span.attribution:+.3f}" '
        f'style="background:{_background(span.attribution, largest)}">{escape(piece)}</span>'
        for piece, span in pieces(explanation, field, text)
    ]
    return f'<p class="field"><b>{field}</b>{"".join(marked)}</p>'


def _picture(attribution: ImageAttribution, image: bytes, largest: float) -> str:
    """The picture and the grid on it; the figure is as large as both together."""
    frame = attribution.frame
    left, top = (frame.left, frame.top) if frame else (0.0, 0.0)
    width, height = (frame.width, frame.height) if frame else (attribution.width, attribution.height)
    x, y = min(0.0, left), min(0.0, top)
    right, bottom = max(attribution.width, left + width), max(attribution.height, top + height)
    rows, columns = attribution.grid
    cells = [
        f'<rect x="{left + column * width / columns:.2f}" y="{top + row * height / rows:.2f}" '
        f'width="{width / columns:.2f}" height="{height / rows:.2f}" '
        f'fill="{_css(FOR if value > 0 else AGAINST, 0.75 * strength(value, largest))}">'
        f"<title>{value:+.3f}</title></rect>"
        for row, values in enumerate(attribution.attributions)
        for column, value in enumerate(values)
    ]
    across, down = right - x, bottom - y
    place = (
        f"left:{-100 * x / across:.3f}%;top:{-100 * y / down:.3f}%;"
        f"width:{100 * attribution.width / across:.3f}%;height:{100 * attribution.height / down:.3f}%"
    )
    kind = next((name for magic, name in _TYPES.items() if image.startswith(magic)), "jpeg")
    data = base64.b64encode(image).decode()
    return (
        f'<figure style="aspect-ratio:{across:.0f}/{down:.0f}">'
        f'<img alt="the product" style="{place}" src="data:image/{kind};base64,{data}">'
        f'<svg viewBox="{x:.2f} {y:.2f} {across:.2f} {down:.2f}">{"".join(cells)}</svg></figure>'
    )


def _background(attribution: float, largest: float) -> str:
    return _css(FOR if attribution > 0 else AGAINST, 0.75 * strength(attribution, largest))


def _css(colour: tuple[int, int, int], opacity: float) -> str:
    red, green, blue = colour
    return f"rgba({red},{green},{blue},{opacity:.3f})"
