"""Our explanations beside shap's partition explainer on the same texts and pictures, in one run.

    OMP_NUM_THREADS=1 uv run python -m tests.perf.explanations REPOSITORY NAME CATALOGUE

Error is the largest distance from the Shapley values of the same game by all coalitions, on titles of at most
ten words, which need no more than 90 evaluations; rows of 40 to 200 words need all of them. Prints a table
and one JSON object; the median of the times, so report their ratios.
"""

import itertools
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from models.catalogue_products import product_of
from models.explain.base import TextExplainer
from models.explain.cells import CellsExplainer
from models.explain.partition import PartitionTextExplainer
from models.explain.pixels import PixelsExplainer
from models.explain.product import exact_text_explainer
from models.explain.words import keep_words
from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import read_catalogue

MAX_WORDS = 10
BUDGETS = (100, 1_000)


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    catalogue: Annotated[Path, typer.Argument(help="Whatever shelver evaluate reads.")],
    num_texts: Annotated[int, typer.Option(help="Texts to explain.")] = 30,
    num_pictures: Annotated[int, typer.Option(help="Pictures to explain.")] = 5,
) -> None:
    """Time explanations, and compare their values with those of all coalitions."""
    classifier = Classifier.load(ModelRepository(repository).resolve(model).folder, num_threads=1)
    rows = list(itertools.islice(read_catalogue(catalogue), 20_000))
    results: dict[str, Any] = {}
    if classifier.network.text is not None:
        texts = [(row.title, "") for row in rows if 2 <= len(row.title.split()) <= MAX_WORDS][:num_texts]
        results["titles"] = _texts(classifier.network.text, texts, exhaustive=True)
        rows_of_words = [
            (row.title, row.description) for row in rows if 40 <= len(row.description.split()) <= 200
        ]
        results["rows"] = _texts(classifier.network.text, rows_of_words[:num_texts], exhaustive=False)
    if classifier.network.image is not None:
        pictured = [product_of(row) for row in rows if row.image_path is not None][:num_pictures]
        results["image"] = _pictures(classifier, classifier.prepare(pictured).pixels_NHWK)
    for kind, methods in results.items():
        for name, each in methods.items():
            shown = "  ".join(f"{key} {value:.3g}" for key, value in each.items())
            typer.echo(f"{kind:6} {name:32} {shown}")
    typer.echo(json.dumps(results))


def _texts(encoder: Any, texts: list[tuple[str, str]], *, exhaustive: bool) -> dict[str, dict[str, float]]:
    partition, exact = PartitionTextExplainer(encoder), exact_text_explainer(encoder)
    columns = np.array([0])
    partition.explain(texts[:1], columns, 10)  # imports shap
    results: dict[str, dict[str, float]] = {}
    every = [_all_coalitions(partition, text) for text in texts] if exhaustive else []
    for budget in BUDGETS:
        seconds, found = _timed(partition, texts, columns, budget)
        results[f"shap partition, {budget}"] = {"ms": seconds * 1e3}
        errors = [float(np.abs(values - truth).max()) for values, truth in zip(found, every, strict=False)]
        if errors:
            results[f"shap partition, {budget}"]["error"] = max(errors)
    if exact is not None:
        exact.explain(texts[:1], columns, 0)
        seconds, found = _timed(exact, texts, columns, 0)
        own = [_sum_error(exact, encoder, text) for text in texts]
        together = _median(lambda: exact.explain(texts * 4, columns, 0), rounds=5) / (4 * len(texts))
        slowest = results[f"shap partition, {BUDGETS[-1]}"]["ms"] / 1e3
        results["exact"] = {
            "ms": seconds * 1e3,
            "ms_in_a_batch": together * 1e3,
            "additivity_error": max(own),
            "times_faster": slowest / seconds,
            "times_faster_in_a_batch": slowest / together,
        }
    return results


def _pictures(classifier: Classifier, pixels_NHWK: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    image = classifier.network.image
    assert image is not None
    columns = np.array([0])
    cells, pixels = CellsExplainer(image, classifier.network.image_mean_C), PixelsExplainer(image)
    import torch

    @torch.inference_mode()
    def forward() -> None:
        image.head(image.features_NPD(torch.from_numpy(pixels_NHWK[:1])))

    one = _median(forward, rounds=20)
    exact = _median(lambda: cells.explain(pixels_NHWK[:1], columns), rounds=20)
    results = {"cells": {"ms": exact * 1e3, "forwards": exact / one}}
    for budget in BUDGETS:
        seconds = _median(lambda budget=budget: pixels.explain(pixels_NHWK[:1], columns, budget), rounds=1)  # type: ignore[misc]
        results[f"pixels, {budget}"] = {"ms": seconds * 1e3, "forwards": seconds / one}
    return results


def _timed(
    explainer: TextExplainer, texts: list[tuple[str, str]], columns: NDArray[np.int64], budget: int
) -> tuple[float, list[NDArray[np.float64]]]:
    times, found = [], []
    for text in texts:
        began = time.perf_counter()
        (each,) = explainer.explain([text], columns, budget)
        times.append(time.perf_counter() - began)
        found.append(each.values_WK)
    return statistics.median(times), found


def _median(work: Callable[[], object], *, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _sum_error(explainer: TextExplainer, encoder: Any, text: tuple[str, str]) -> float:
    (found,) = explainer.explain([text], np.array([0]), 0)
    partition = PartitionTextExplainer(encoder)
    whole = partition.evidence([text])[0, 0]
    return float(abs(found.base_K[0] + found.values_WK.sum() - whole))


def _all_coalitions(partition: PartitionTextExplainer, text: tuple[str, str]) -> NDArray[np.float64]:
    """Shapley values of the game of the partition explainer, by their definition."""
    words = partition.words(text)
    num_words = len(words)
    masks = np.array(list(itertools.product([False, True], repeat=num_words)))
    worth = partition.evidence([keep_words(text, words, mask) for mask in masks])[:, 0]
    numbers = masks @ (1 << np.arange(num_words)[::-1])
    by_number = np.empty(1 << num_words)
    by_number[numbers] = worth
    sizes = masks.sum(axis=1)
    values = np.zeros((num_words, 1))
    for word in range(num_words):
        bit = 1 << (num_words - 1 - word)
        without = numbers[~masks[:, word]]
        size = sizes[~masks[:, word]]
        share = np.array([math.factorial(s) * math.factorial(num_words - 1 - s) for s in size])
        gains = by_number[without | bit] - by_number[without]
        values[word] = (share / math.factorial(num_words) * gains).sum()
    return values


if __name__ == "__main__":
    typer.run(main)
