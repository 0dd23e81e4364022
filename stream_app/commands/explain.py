"""`shelver explain`: why a product gets its category, in the terminal or as a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stream_app.commands.repository_options import DEFAULT_ROOT, Cache, Root, open_repository

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.inputs import Product
    from models.labels import LabelSet
    from schemas.explanations import CategoryExplained

MAX_CATEGORIES = 100
MAX_SHOWN = 30


def explain(
    *,
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="The version to ask.")],
    title: Annotated[str, typer.Option(help="Title of the product.")] = "",
    description: Annotated[str, typer.Option(help="Its description; HTML is read as the service does.")] = "",
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its picture: JPEG, PNG, WebP, GIF or BMP.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Explain this category; may be given again.")
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, max=MAX_CATEGORIES, help="Without --category: so many, likeliest first.")
    ] = 3,
    method: Annotated[
        Literal["cells", "pixels"],
        typer.Option(help="Picture: exact on the cells of the last map, or on its pixels, slowly."),
    ] = "cells",
    max_evaluations: Annotated[
        int, typer.Option(min=2, help="Runs of the model, where values are not exact.")
    ] = 500,
    device: Annotated[
        str, typer.Option(envvar="SHELVER_DEVICE", help="Where to compute: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    model_repository: Root = DEFAULT_ROOT,
    model_cache: Cache = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that needs nothing else.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the category-explained message instead of colours.")
    ] = False,
) -> None:
    """Explain why a product gets its category, word by word and on its picture.

    Needs no Kafka. Every word and every part of the picture gets its Shapley value: what it adds to the
    logit of a category. Base value plus all of them is the logit.

    Raises:
        CatalogueError: the picture cannot be read or the page not written.
        ModelError: there is no such version or category, or there is nothing to explain.
    """
    from models.errors import ExplanationError
    from models.explain.product import ImageMethod, ProductExplainer
    from models.inputs import Product
    from models.runtime import Classifier
    from schemas.assignments import ModelReference
    from stream_app.explaining import ExplainedListing, category_explained

    classifier = Classifier.load(open_repository(model_repository, model_cache).resolve(model).folder, device)
    title, description = map(_readable, (title, description))
    product = Product(title, description, None if image is None else _read(image))
    prepared = classifier.prepare([product])
    if not (prepared.text_present_B[0] or prepared.image_present_B[0]):
        reason = prepared.image_reasons[0]
        picture = "" if reason is None else f"; its picture cannot be used ({reason})"
        raise ExplanationError(f"nothing to explain: give --title, --description or --image{picture}")
    probabilities_C = classifier.score(prepared).probabilities_BC[0]
    columns = _columns(classifier.labels, category, probabilities_C, top)
    (found,) = ProductExplainer(classifier).explain(
        [product], [columns], image_method=ImageMethod(method), max_evaluations=max_evaluations
    )
    answer = category_explained(
        ExplainedListing("explain", "explain", "explain", title, description),
        found,
        classifier.labels,
        ModelReference(name=classifier.name, version=classifier.version),
        datetime.now(UTC),
    )
    probabilities = [float(probabilities_C[column]) for column in columns]
    if html is not None:
        _write_page(html, answer, probabilities, product)
    _show(answer, probabilities, (title, description), as_json=as_json)


def _readable(text: str) -> str:
    """Bytes of the command line that are no UTF-8 become U+FFFD."""
    return re.sub("[\0\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def _read(path: Path) -> bytes:
    from schemas.errors import CatalogueError

    try:
        return path.read_bytes()
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read ({error.strerror or error})") from error


def _columns(
    labels: LabelSet, wanted: list[str] | None, probabilities_C: NDArray[np.float32], top: int
) -> list[int]:
    from models.errors import ExplanationError

    if not wanted:
        best: list[int] = (-probabilities_C).argsort(kind="stable")[:top].tolist()
        return best
    found: list[int] = labels.indices(wanted).tolist()
    if -1 in found:
        code = wanted[found.index(-1)]
        shown = ", ".join(map(str, labels.codes[:MAX_SHOWN]))
        more = " and others" if len(labels) > MAX_SHOWN else ""
        raise ExplanationError(f"the model has no category {code[:40]!r}, it has {shown}{more}")
    return found


def _write_page(path: Path, answer: CategoryExplained, probabilities: list[float], product: Product) -> None:
    from schemas.errors import CatalogueError
    from stream_app.explanation_page import explanation_page

    page = explanation_page(answer, probabilities, (product.title, product.description), product.image)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CatalogueError(f"{path} cannot be written ({error.strerror or error})") from error


def _show(
    answer: CategoryExplained, probabilities: list[float], texts: tuple[str, str], *, as_json: bool
) -> None:
    if as_json:
        print(answer.model_dump_json())
        return
    from rich.console import Console

    from stream_app.explanation_table import explanation_lines

    console = Console()
    for line in explanation_lines(answer, probabilities, texts):
        console.print(line)
