"""`shelver evaluate`: how good a version is on labelled rows, prepared and scored as the service does it."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from models.evaluation import Evaluation
    from models.inputs import PreparedBatch
    from models.runtime import Classifier
    from schemas.catalogue_rows import CatalogueRow

ALL_ROWS = "all"
_MAX_THREADS = 8


def evaluate(
    *,
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="The version to evaluate.")],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Challenge-layout folder, CSV, TSV or JSON Lines file.")
    ],
    split: Annotated[
        str, typer.Option(help="Only rows of this split, and rows of none; 'all' takes every row.")
    ] = "val",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Rows scored at a time.")] = 64,
    device: Annotated[
        str, typer.Option(envvar="SHELVER_DEVICE", help="Where to score: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    model_repository: Annotated[
        Path,
        typer.Option("--repository", envvar="SHELVER_MODEL_REPOSITORY", help="Folder of the repository."),
    ] = Path("repository"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Score a model version on labelled products.

    Rows go through the same preparation as events in the service. F1, accuracy and calibration are shown for
    all rows, by what a product has (text, picture) and for each category.

    Raises:
        CatalogueError: the data cannot be read, or there is no labelled row to score.
        ModelError: there is no such version, it is damaged, or there is no such device.
    """
    from models.evaluation import evaluate as compare
    from models.repository import ModelRepository
    from models.runtime import Classifier

    location = ModelRepository(model_repository).resolve(model)
    rows = labelled_rows(data, split=split, limit=limit)
    classifier = Classifier.load(location.folder, device)
    began = time.perf_counter()
    with _progress_bar(len(rows)) as advance:
        scored = score_rows(classifier, rows, batch_size=batch_size, on_scored=advance)
    result = compare(
        scored.probabilities_BC,
        classifier.labels.indices([row.category or "" for row in rows]),
        classifier.labels,
        text_present_B=scored.text_present_B,
        image_present_B=scored.image_present_B,
    )
    report = {
        "model": classifier.name,
        "version": classifier.version,
        "data": str(data),
        "split": split,
        "device": str(classifier.device),
        "rows_per_second": round(len(rows) / (time.perf_counter() - began), 1),
        "unused_pictures": scored.unused_pictures,
        **result.to_json(),
    }
    _show(report, result, as_json=as_json)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """What a version says of B rows, and which modalities it had for each."""

    probabilities_BC: NDArray[np.float32]
    text_present_B: NDArray[np.bool_]
    image_present_B: NDArray[np.bool_]
    unused_pictures: dict[str, int]


def labelled_rows(data: Path, *, split: str = "val", limit: int | None = None) -> list[CatalogueRow]:
    """The rows of a catalogue that have a category and are of a split, or of none.

    Raises:
        CatalogueError: the data cannot be read, or has no such row.
    """
    from schemas.catalogue import read_catalogue
    from schemas.errors import CatalogueError

    rows: list[CatalogueRow] = []
    splits: Counter[str] = Counter()
    for row in read_catalogue(data):
        if row.category is None:
            continue
        splits[row.split or "none"] += 1
        if split == ALL_ROWS or row.split is None or row.split == split:
            rows.append(row)
        if len(rows) == limit:
            break
    if not rows:
        found = ", ".join(f"{name} ({count} rows)" for name, count in sorted(splits.items())) or "none"
        raise CatalogueError(
            f"{data}: no labelled row is of split {split!r}; splits of labelled rows there: {found}; "
            f"choose one with --split, or --split {ALL_ROWS}"
        )
    return rows


def score_rows(
    classifier: Classifier,
    rows: Sequence[CatalogueRow],
    *,
    batch_size: int = 64,
    on_scored: Callable[[int], object] = lambda _num_rows: None,
) -> ScoredRows:
    """Score rows as the service scores events, in batches; the next batch is prepared meanwhile.

    Args:
        classifier: the version.
        rows: at least one.
        batch_size: rows scored at a time.
        on_scored: told the number of rows after each batch.
    """
    import numpy as np

    parts = []
    reasons: Counter[str] = Counter()
    for prepared in _prepared_batches(classifier, rows, batch_size):
        scores = classifier.score(prepared)
        parts.append((scores.probabilities_BC, prepared.text.present_B, prepared.image_present_B))
        reasons.update(str(reason) for reason in prepared.image_reasons if reason is not None)
        on_scored(prepared.num_products)
    probabilities, text_present, image_present = map(np.concatenate, zip(*parts, strict=True))
    return ScoredRows(probabilities, text_present, image_present, dict(reasons))


def _prepared_batches(
    classifier: Classifier, rows: Sequence[CatalogueRow], batch_size: int
) -> Iterator[PreparedBatch]:
    from models.catalogue_products import product_of

    num_threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(num_threads) as pictures, ThreadPoolExecutor(1) as ahead:

        def prepare(first: int) -> PreparedBatch:
            products = list(pictures.map(product_of, rows[first : first + batch_size]))
            return classifier.prepare(products, pictures)

        following = ahead.submit(prepare, 0)
        for first in range(batch_size, len(rows) + batch_size, batch_size):
            prepared = following.result()
            if first < len(rows):
                following = ahead.submit(prepare, first)
            yield prepared


@contextmanager
def _progress_bar(num_rows: int) -> Iterator[Callable[[int], object]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Scoring", total=num_rows)
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


def _summary(report: dict[str, Any], result: Evaluation) -> Table:
    table = _table(f"{report['model']}@{report['version']}", "Measure", "Value")
    for name, value in (
        ("rows", f"{result.rows}"),
        ("weighted F1", f"{result.weighted_f1:.4f}"),
        ("macro F1", f"{result.macro_f1:.4f}"),
        ("accuracy", f"{result.accuracy:.4f}"),
        ("calibration error", f"{result.ece:.4f}"),
        ("rows a second", f"{report['rows_per_second']}"),
        ("categories unknown to the model", f"{result.unknown_rows} rows"),
        ("no finite scores", f"{result.non_finite_rows} rows"),
        *(
            (f"picture not used: {reason}", f"{rows} rows")
            for reason, rows in report["unused_pictures"].items()
        ),
    ):
        if value != "0 rows":
            table.add_row(name, value)
    return table


def _modality_table(result: Evaluation) -> Table:
    table = _table("By what a product has", "Modalities", "Rows", "Weighted F1", "Accuracy")
    for name, scores in result.by_modality.items():
        table.add_row(name, f"{scores.rows}", f"{scores.weighted_f1:.4f}", f"{scores.accuracy:.4f}")
    return table


def _category_table(result: Evaluation) -> Table:
    from rich.markup import escape

    table = _table("By category", "Code", "Label", "Rows", "Precision", "Recall", "F1")
    for entry in result.per_class:
        numbers = (f"{entry.precision:.3f}", f"{entry.recall:.3f}", f"{entry.f1:.3f}")
        table.add_row(escape(str(entry.code)), escape(entry.label), f"{entry.support}", *numbers)
    return table


def _table(title: str, first: str, *numbers: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="left" if name == "Label" else "right")
    return table
