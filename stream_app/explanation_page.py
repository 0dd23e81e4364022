"""An explanation as one HTML file that needs nothing else: no script, no font, no network."""

from collections.abc import Sequence
from html import escape

from schemas.explanations import CategoryExplained
from stream_app.explanation_markup import STYLE, explanation_markup

__all__ = ["explanation_page"]

_PAGE_STYLE = """
body { font: 16px/1.6 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #222;
  background: #fff; }
h1 { font-size: 1.3rem; }
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
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Explained by {name}</title><style>{_PAGE_STYLE}{STYLE}</style></head><body>\n"
        f"<h1>Why this category? {name}</h1>\n"
        f"{explanation_markup(answer, texts, image, probabilities=probabilities)}\n</body></html>\n"
    )
