"""Compares ways to put products on shelves, on the same rows and the same split, and prints a Markdown table.

    uv run python -m training.comparison CATALOGUE

It trains the default, the architecture of the project that Shelver replaces, and TF-IDF with a linear support
vector machine of scikit-learn, which reads text only. All learn from the training rows and from those whose
category models gave, and are asked about the rows held out.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from models.catalogue_scoring import score_rows
from models.evaluation import evaluate
from models.runtime import Classifier
from models.text.cleaning import clean
from training.rows import TrainingRows, load_rows
from training.run import compose_config, train

__all__ = ["Contender", "markdown_table"]

SHELVER = ("Shelver", ())
ORIGINAL = ("embedding_bag + frozen MobileNetV2, additive fusion", ("model=original", "image=frozen"))
SVM = "TF-IDF + LinearSVC (text only)"
PSEUDO_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Contender:
    """One way, measured.

    Attributes:
        name: what it is.
        weighted_f1: on all rows held out.
        by_modality: what a row has -> weighted F1.
        ece: expected calibration error; None where there are no probabilities.
        training_seconds: from reading the catalogue to the last weight.
        size_bytes: of everything that is needed to answer.
        rows_per_second: answered on this machine, pictures read and decoded included.
    """

    name: str
    weighted_f1: float
    by_modality: dict[str, float]
    ece: float | None
    training_seconds: float
    size_bytes: int
    rows_per_second: float


def main(
    catalogue: Annotated[Path, typer.Argument(help="Whatever shelver train reads.")],
    seed: Annotated[int, typer.Option(help="Of every run.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object after the table.")] = False,
) -> None:
    """Train and measure all of them; takes as long as two runs of `shelver train`."""
    rows = load_rows(catalogue, seed=seed)
    contenders = [
        _trained(*ORIGINAL, rows, seed),
        _support_vectors(rows, seed),
        _trained(*SHELVER, rows, seed),
    ]
    typer.echo(markdown_table(contenders))
    if as_json:
        typer.echo(json.dumps({"contenders": [asdict(each) for each in contenders]}))


def markdown_table(contenders: Sequence[Contender]) -> str:
    """A row for each; modalities that no row has are left out."""
    modalities = [
        name
        for name in ("text", "image", "text+image")
        if any(name in each.by_modality for each in contenders)
    ]
    titles = [
        "",
        "weighted F1",
        *(f"{name} rows" for name in modalities),
        "ECE",
        "trained in",
        "on disk",
        "rows/s",
    ]
    lines = [titles, ["---"] * len(titles), *(_cells(each, modalities) for each in contenders)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(each: Contender, modalities: Sequence[str]) -> list[str]:
    minutes, seconds = divmod(round(each.training_seconds), 60)
    return [
        each.name,
        f"{each.weighted_f1:.3f}",
        *(f"{each.by_modality[name]:.3f}" if name in each.by_modality else "-" for name in modalities),
        "-" if each.ece is None else f"{each.ece:.3f}",
        f"{minutes} min {seconds} s",
        f"{each.size_bytes / 1e6:.0f} MB",
        f"{each.rows_per_second:.0f}",
    ]


def _trained(name: str, overrides: Sequence[str], rows: TrainingRows, seed: int) -> Contender:
    """A version that `train` makes, asked as the service asks it."""
    with tempfile.TemporaryDirectory() as repository:
        # Without the cache: a run before this one would have saved it work.
        cfg = compose_config(
            [f"seed={seed}", "logger=none", "callbacks=none", "data.cache=false", *overrides]
        )
        cfg.data.root, cfg.repository = str(rows.root), repository
        began = time.perf_counter()
        trained = train(cfg)
        training_seconds = time.perf_counter() - began
        if trained is None:
            raise typer.Exit
        folder = trained.location.folder
        classifier = Classifier.load(folder)
        began = time.perf_counter()
        scored = score_rows(classifier, [rows.rows[row] for row in rows.validation_rows])
        return _measured(
            name,
            rows,
            scored.probabilities_BC,
            seconds=(training_seconds, time.perf_counter() - began),
            size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        )


def _support_vectors(rows: TrainingRows, seed: int) -> Contender:
    texts = [" ".join(map(clean, pair)) for pair in rows.texts]
    learn_from, held_out = rows.train_rows, rows.validation_rows
    vectorizer = make_union(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True),
    )
    pipeline = make_pipeline(vectorizer, LinearSVC(C=0.5, random_state=seed))
    weight_N = np.where(rows.pseudo_N, PSEUDO_WEIGHT, 1.0)
    began = time.perf_counter()
    pipeline.fit(
        [texts[row] for row in learn_from],
        rows.truth_N[learn_from],
        linearsvc__sample_weight=weight_N[learn_from],
    )
    training_seconds = time.perf_counter() - began
    began = time.perf_counter()
    predicted_R = pipeline.predict([texts[row] for row in held_out])
    return _measured(
        SVM,
        rows,
        np.eye(len(rows.labels), dtype=np.float32)[predicted_R],
        seconds=(training_seconds, time.perf_counter() - began),
        size_bytes=_size_of(pipeline),
        has_probabilities=False,
    )


def _size_of(pipeline: Any) -> int:
    """Bytes of the weights and of the vocabulary as text."""
    vectorizer, machine = (step for _, step in pipeline.steps)
    ngrams = vectorizer.get_feature_names_out()
    return int(machine.coef_.astype(np.float32).nbytes + sum(len(ngram.encode()) + 5 for ngram in ngrams))


def _measured(
    name: str,
    rows: TrainingRows,
    probabilities_RC: NDArray[np.float32],
    *,
    seconds: tuple[float, float],
    size_bytes: int,
    has_probabilities: bool = True,
) -> Contender:
    held_out = rows.validation_rows
    has_text_R = np.array([bool("".join(map(clean, rows.texts[row]))) for row in held_out], np.bool_)
    evaluation = evaluate(
        probabilities_RC,
        rows.truth_N[held_out],
        rows.labels,
        text_present_B=has_text_R,
        image_present_B=rows.pictured_N[held_out],
    )
    training_seconds, answering_seconds = seconds
    return Contender(
        name=name,
        weighted_f1=evaluation.weighted_f1,
        by_modality={kind: scores.weighted_f1 for kind, scores in evaluation.by_modality.items()},
        ece=evaluation.ece if has_probabilities else None,
        training_seconds=training_seconds,
        size_bytes=size_bytes,
        rows_per_second=len(held_out) / answering_seconds,
    )


if __name__ == "__main__":
    typer.run(main)
