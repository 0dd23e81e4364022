"""How fast a version scores on a device: batches of ready tensors by size and precision, and from JPEG.

    uv run python -m tests.perf.forward REPOSITORY NAME --device cuda

Prints a table and one JSON object. `ready` goes from decoded pictures in main memory to scores there,
so copies are in it; `jpeg` decodes 500 x 500 pictures of some 15 kB first, in as many threads as there are
cores.
"""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from models.inputs import PreparedBatch, Product
from models.precision import Precision
from models.repository import ModelRepository
from models.runtime import Classifier, resolve_device
from tests.perf.traffic import DETAIL_15KB, pictures

SIZES = (1, 8, 64, 128, 256)


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of the models.")],
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "auto",
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 2.0,
) -> None:
    """Measure products with a text and a picture."""
    folder = ModelRepository(repository).resolve(model).folder
    resolved = resolve_device(device)
    name = torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else "CPU"
    precisions = list(Precision) if resolved.type == "cuda" else [Precision.FLOAT32]
    results: list[dict[str, Any]] = []
    for precision in (None, *precisions) if resolved.type == "cuda" else precisions:
        classifier = Classifier.load(folder, resolved, precision=precision or Precision.FLOAT32)
        if precision is not None:
            classifier.warm_up(max(SIZES))
        for size in SIZES:
            result = {"device": name, "precision": str(precision or "not captured"), "batch": size}
            result |= _measure(classifier, size, seconds)
            typer.echo(_row(result) if results else f"{_row({k: k for k in result})}\n{_row(result)}")
            results.append(result)
    typer.echo(json.dumps(results))


def _measure(classifier: Classifier, size: int, seconds: float) -> dict[str, Any]:
    files = pictures(DETAIL_15KB)
    products = [Product(f"Lampe de chevet n° {n}", image=files[n % len(files)]) for n in range(size)]
    ready: PreparedBatch = classifier.prepare(products)
    ready_ms = _times_ms(lambda: classifier.score(ready), seconds)
    result: dict[str, Any] = {
        "ready_per_s": round(1e3 * size / float(np.mean(ready_ms))),
        "p50_ms": round(float(np.percentile(ready_ms, 50)), 2),
        "p99_ms": round(float(np.percentile(ready_ms, 99)), 2),
    }
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        jpeg_ms = _times_ms(lambda: classifier.score(classifier.prepare(products, threads)), seconds)
    return result | {"jpeg_per_s": round(1e3 * size / float(np.mean(jpeg_ms)))}


def _times_ms(work: Callable[[], object], seconds: float) -> list[float]:
    for _ in range(3):
        work()
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - began))
    return times


def _row(result: dict[str, Any]) -> str:
    return "".join(f"{value!s:>22}" for value in result.values())


if __name__ == "__main__":
    typer.run(main)
