"""`shelver evaluate`: how good a version is on labelled rows, prepared and scored as the service does it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stream_app.commands.repository_options import DEFAULT_ROOT, Cache, Root, open_repository

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from models.evaluation import Evaluation
    from models.labels import LabelSet
    from models.runtime import Classifier
    from schemas.catalogue import CatalogueRow

NUM_EXPLAINED_TEXTS = 200
NUM_EXPLAINED_PICTURES = 20


def evaluate(
    *,
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="The version to evaluate.")],
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Challenge-layout folder, CSV, TSV, JSON Lines or Parquet file."),
    ],
    split: Annotated[
        str, typer.Option(help="Only rows of this split, and rows of none; 'all' takes every row.")
    ] = "val",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Rows scored at a time.")] = 64,
    device: Annotated[
        str, typer.Option(envvar="SHELVER_DEVICE", help="Where to score: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    model_repository: Root = DEFAULT_ROOT,
    model_cache: Cache = None,
    only: Annotated[
        Literal["text", "image"] | None,
        typer.Option(help="Score rows by their text or by their picture alone."),
    ] = None,
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade", help="Skip pictures of rows whose text is certain, as SHELVER_CASCADE does."
        ),
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Draw confusion matrix and reliability diagram into this folder."
        ),
    ] = None,
    explanations: Annotated[
        bool,
        typer.Option(
            "--explanations",
            help=f"Also measure explanations, on {NUM_EXPLAINED_TEXTS} texts and {NUM_EXPLAINED_PICTURES} "
            "pictures; takes minutes.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Score a model version on labelled products.

    Rows go through the same preparation as events in the service. F1, accuracy and calibration are shown for
    all rows, by what a product has (text, picture) and for each category, and the accuracy of the rows that
    the model is surest of. `--only` leaves out rows without that modality and hides the other one. With
    `--cascade` it is told how many pictures are skipped.

    Raises:
        CatalogueError: the data cannot be read, there is no labelled row to score, or the folder of pictures
            cannot be written.
        ModelError: there is no such version, it is damaged, it has no threshold for a cascade, or there is no
            such device.
    """
    from models.catalogue_scoring import labelled_rows, score_rows, unknown_categories
    from models.evaluation import evaluate as compare
    from models.runtime import Classifier

    location = open_repository(model_repository, model_cache).resolve(model)
    rows = labelled_rows(data, split=split, limit=limit, only=only)
    _ensure_folder(pictures)
    classifier = Classifier.load(location.folder, device)
    began = time.perf_counter()
    with _progress_bar(len(rows)) as advance:
        shown = _without_certain_pictures(classifier, rows, batch_size) if cascade else rows
        scored = score_rows(classifier, shown, batch_size=batch_size, on_scored=advance)
    seconds = time.perf_counter() - began
    truth_B = classifier.labels.indices([row.category or "" for row in rows])
    result = compare(
        scored.probabilities_BC,
        truth_B,
        classifier.labels,
        text_present_B=scored.text_present_B,
        image_present_B=scored.image_present_B,
    )
    report = {
        "model": classifier.name,
        "version": classifier.version,
        "data": str(data),
        "split": split,
        "only": only,
        "device": str(classifier.device),
        "rows_per_second": round(len(rows) / seconds, 1),
        "unused_pictures": scored.unused_pictures,
        "unknown_categories": unknown_categories(rows, classifier.labels),
        "absent_categories": [entry.code for entry in result.per_class if not entry.support],
        **result.to_json(),
    }
    if cascade:
        report["cascade"] = _cascade_report(classifier, rows, shown)
    if explanations:
        report["explanations"] = _measure_explanations(classifier, rows)
    if pictures is not None:
        _draw(pictures, scored.probabilities_BC, truth_B, classifier.labels)
    _show(report, result, as_json=as_json)


def _without_certain_pictures(
    classifier: Classifier, rows: Sequence[CatalogueRow], batch_size: int
) -> Sequence[CatalogueRow]:
    from models.cascade import Cascade
    from models.catalogue_scoring import without_certain_pictures

    cascade = Cascade.required(classifier.cascade, f"{classifier.name}@{classifier.version}")
    return without_certain_pictures(classifier, rows, cascade, batch_size=batch_size)


def _cascade_report(
    classifier: Classifier, rows: Sequence[CatalogueRow], shown: Sequence[CatalogueRow]
) -> dict[str, Any]:
    """The threshold, rows with a picture, and how many of these are shown without it."""
    pictured = [(row, seen) for row, seen in zip(rows, shown, strict=True) if row.has_picture]
    return {
        "threshold": None if classifier.cascade is None else classifier.cascade.threshold,
        "pictured_rows": len(pictured),
        "skipped_pictures": sum(row is not seen for row, seen in pictured),
    }


def _measure_explanations(classifier: Classifier, rows: Sequence[CatalogueRow]) -> dict[str, Any]:
    from models.catalogue_products import product_of
    from models.explain.quality import picture_quality, text_quality

    texts = [(row.title, row.description) for row in rows if row.title or row.description]
    pictured = [row for row in rows if row.has_picture]
    texts, pictured = texts[:NUM_EXPLAINED_TEXTS], pictured[:NUM_EXPLAINED_PICTURES]
    pixels_NHWK = classifier.prepare([product_of(row) for row in pictured]).pixels_NHWK
    with _progress_bar(len(texts) + len(pixels_NHWK), "Explaining") as advance:
        of_texts = text_quality(classifier, texts, advance=advance)
        of_pictures = picture_quality(classifier, pixels_NHWK, advance=advance)
    return {
        "text": [each.to_json() for each in of_texts],
        "image": [each.to_json() for each in of_pictures],
    }


def _ensure_folder(folder: Path | None) -> None:
    """Make sure that pictures can be written before anything is scored."""
    from schemas.errors import CatalogueError

    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CatalogueError(
            f"{folder}: pictures cannot be written there ({error.strerror or error}); choose another folder"
        ) from error


def _draw(
    folder: Path, probabilities_BC: NDArray[np.float32], truth_B: NDArray[np.int64], labels: LabelSet
) -> None:
    from models.evaluation import confusion_matrix, reliability
    from models.evaluation_pictures import confusion_figure, reliability_figure, write_figure

    counts_CC = confusion_matrix(probabilities_BC, truth_B)
    write_figure(folder / "confusion.png", confusion_figure(counts_CC, labels))
    write_figure(folder / "reliability.png", reliability_figure(reliability(probabilities_BC, truth_B)))


@contextmanager
def _progress_bar(num_rows: int, what: str = "Scoring") -> Iterator[Callable[[int], object]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=num_rows)
        yield lambda scored: bar.advance(task, scored)


def _show(report: dict[str, Any], result: Evaluation, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report))
        return
    from rich.console import Console

    console = Console()
    console.print(_summary(report, result))
    console.print(_modality_table(result))
    console.print(_category_table(result))
    if "explanations" in report:
        console.print(_text_explanation_table(report["explanations"]["text"]))
        console.print(_picture_explanation_table(report["explanations"]["image"]))


def _summary(report: dict[str, Any], result: Evaluation) -> Table:
    table = _table(f"{report['model']}@{report['version']}", "Measure", "Value")
    for name, value in (
        ("rows", f"{result.rows}"),
        ("weighted F1", f"{result.weighted_f1:.4f}"),
        ("macro F1", f"{result.macro_f1:.4f}"),
        ("accuracy", f"{result.accuracy:.4f}"),
        ("calibration error", f"{result.ece:.4f}"),
        *(
            (f"accuracy of the surest {float(share):.0%}", f"{accuracy:.4f}")
            for share, accuracy in result.selective_accuracy.items()
        ),
        *_cascade_lines(report),
        ("rows a second", f"{report['rows_per_second']}"),
        *(
            (f"category {code[:40]} unknown to the model", f"{rows} rows")
            for code, rows in report["unknown_categories"].items()
        ),
        ("no finite scores", f"{result.non_finite_rows} rows"),
        *(
            (f"picture not used: {reason}", f"{rows} rows")
            for reason, rows in report["unused_pictures"].items()
        ),
    ):
        if value != "0 rows":
            table.add_row(name, value)
    return table


def _cascade_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    if "cascade" not in report:
        return []
    told = report["cascade"]
    return [(f"pictures skipped of {told['pictured_rows']}", f"{told['skipped_pictures']}")]


def _modality_table(result: Evaluation) -> Table:
    table = _table("By what a product has", "Modalities", "Rows", "Weighted F1", "Accuracy", "ECE")
    for name, scores in result.by_modality.items():
        table.add_row(
            name, f"{scores.rows}", f"{scores.weighted_f1:.4f}", f"{scores.accuracy:.4f}", f"{scores.ece:.4f}"
        )
    return table


def _category_table(result: Evaluation) -> Table:
    from rich.markup import escape

    table = _table("By category", "Code", "Label", "Rows", "Precision", "Recall", "F1")
    for entry in result.per_class:
        numbers = (f"{entry.precision:.3f}", f"{entry.recall:.3f}", f"{entry.f1:.3f}")
        table.add_row(escape(str(entry.code)), escape(entry.label), f"{entry.support}", *numbers)
    return table


def _text_explanation_table(methods: Sequence[dict[str, Any]]) -> Table:
    """Probability lost without, and with only, the most important words."""
    shares = list(methods[0]["comprehensiveness"]) if methods else []
    table = _table(
        "Explanations of texts: probability lost without / with only the top words",
        "Method",
        *(f"{float(share):.0%}" for share in shares),
        "ms each",
        "shuffled model",
    )
    for each in methods:
        cells = (
            f"{each['comprehensiveness'][share]:.3f} / {each['sufficiency'][share]:.3f}" for share in shares
        )
        correlation = each["shuffled_correlation"]
        table.add_row(
            each["method"],
            *cells,
            f"{each['milliseconds']:.2f}",
            "" if correlation is None else f"{correlation:.2f}",
        )
    return table


def _picture_explanation_table(methods: Sequence[dict[str, Any]]) -> Table:
    table = _table("Explanations of pictures", "Method", "Deletion", "Insertion", "ms each")
    for each in methods:
        table.add_row(
            each["method"],
            f"{each['deletion']:.3f}",
            f"{each['insertion']:.3f}",
            f"{each['milliseconds']:.1f}",
        )
    return table


def _table(title: str, first: str, *numbers: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="left" if name == "Label" else "right")
    return table
