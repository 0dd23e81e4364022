"""An explanation in the terminal: coloured words, the grid over the picture, and what each modality adds."""

from collections.abc import Iterator, Sequence

from rich.style import Style
from rich.text import Text

from schemas.explanations import CategoryExplained, Explanation, ImageAttribution, TextField
from stream_app.explanation_colours import largest_attribution, pieces, rgb

_LONGEST_FIELD = 2_000
"""Code points of a field that are shown."""


def explanation_lines(
    answer: CategoryExplained, probabilities: Sequence[float] | None, texts: tuple[str, str]
) -> Iterator[Text]:
    """The lines to print.

    Args:
        answer: what was found.
        probabilities: of the explained categories, in the same order; None where they are not known.
        texts: title and description as they were explained.
    """
    of_text = largest_attribution(answer.explanations, image=False)
    of_image = largest_attribution(answer.explanations, image=True)
    for number, explanation in enumerate(answer.explanations):
        category = explanation.category
        sureness = "" if probabilities is None else f"  {probabilities[number]:.1%}"
        yield Text(f"{category.code} {category.label}{sureness}", style="bold")
        yield Text(_sum(explanation))
        for field, text in zip(TextField, texts, strict=True):
            if text:
                yield _words(explanation, field, text, of_text)
        if explanation.image is not None:
            yield from _grid(explanation.image, of_image)
        yield Text()
    yield Text(_method(answer), style="dim")


def _sum(explanation: Explanation) -> str:
    shares = explanation.by_modality
    return (
        f"logit {explanation.value:.2f} = base {explanation.base_value:.2f}"
        f" + text {shares.text:.2f} + picture {shares.image:.2f}"
    )


def _words(explanation: Explanation, field: TextField, text: str, largest: float) -> Text:
    line = Text(f"{field}: ", style="dim")
    for piece, span in pieces(explanation, field, text):
        if len(line) > _LONGEST_FIELD:
            line.append(" ...", style="dim")
            break
        shown = "".join(character if character.isprintable() else " " for character in piece)
        line.append(shown, style="not dim" if span is None else _style(span.attribution, largest))
    return line


def _grid(image: ImageAttribution, largest: float) -> Iterator[Text]:
    for number, row in enumerate(image.attributions):
        line = Text("picture: " if number == 0 else " " * 9, style="dim")
        for cell in row:
            line.append("  " if image.grid[1] > 10 else "    ", style=_style(cell, largest))
        yield line


def _style(attribution: float, largest: float) -> Style:
    red, green, blue = rgb(attribution, largest)
    return Style(color="black", bgcolor=f"rgb({red},{green},{blue})", dim=False)


def _method(answer: CategoryExplained) -> str:
    methods = [method for method in (answer.method.text, answer.method.image) if method]
    return (
        f"orange speaks for the category, blue against it; {'; '.join(methods)}; "
        f"adds up to {answer.additivity_error:.0e} ({answer.model.name}@{answer.model.version})"
    )
