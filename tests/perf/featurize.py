"""How many texts a second one core turns into n-gram features, and the share of it that cleaning takes.

    OMP_NUM_THREADS=1 uv run python tests/perf/featurize.py ../shared/data/rakuten

Prints a table and one JSON object. Processor time, best of a few rounds: machines are shared and noisy.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from models.text.cleaning import clean_and_cut
from models.text.ngram_bag import DEFAULT_MAX_CHARACTERS, NgramBag, fit_vocabulary
from schemas.catalogue import read_catalogue

Pair = tuple[str, str]


def main(
    catalogue: Annotated[Path, typer.Argument(help="Whatever shelver train reads.")],
    limit: Annotated[int, typer.Option(help="Rows to read.")] = 5_000,
    rounds: Annotated[int, typer.Option(help="The best of so many counts.")] = 3,
) -> None:
    """Measure titles alone and whole rows, in batches as the service has them."""
    pairs = [
        (row.title, row.description) for row, _ in zip(read_catalogue(catalogue), range(limit), strict=False)
    ]
    bag = NgramBag(fit_vocabulary(pairs), 27, embedding_dim=None)
    bag.featurize(pairs[:64])
    results = {
        f"{name}, batches of {size}": _rate(bag.featurize, texts, size, rounds)
        for name, texts in (("titles", [(title, "") for title, _ in pairs]), ("rows", pairs))
        for size in (64, 1024)
    }
    results["cleaning alone"] = _rate(_clean, pairs, 1024, rounds)
    for name, rate in results.items():
        typer.echo(f"{name:32}{rate:>10,.0f} a second")
    typer.echo(json.dumps(results))


def _rate(work: Callable[[Sequence[Pair]], object], texts: Sequence[Pair], size: int, rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for start in range(0, len(texts), size):
            work(texts[start : start + size])
        best = min(best, time.process_time() - began)
    return len(texts) / best


def _clean(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        for text in pair:
            clean_and_cut(text, max_characters=DEFAULT_MAX_CHARACTERS)


if __name__ == "__main__":
    typer.run(main)
