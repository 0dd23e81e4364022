"""All figures of the documents in one go: throughput beside the peers, scaling, and what each step costs.

    uv run --with 'faststream[kafka]' --with litserve python -m tests.perf.report REPOSITORY NAME \
        --output figures.json --picture .docs/throughput.png
    uv run python -m tests.perf.report --figures figures.json --picture .docs/throughput.png

Takes some 30 minutes with every peer; let nothing else run. Prints the tables of README and of
.docs/throughput.md; the second command draws and prints again what was measured before.
"""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from models.repository import ModelRepository
from models.runtime import Classifier
from stream_app.batching import BatchSettings
from tests.perf import scaling, stages, throughput
from tests.perf.chart import draw
from tests.perf.peers.table import peers_there
from tests.perf.results import conditions, scaling_table, stages_table, throughput_table, told
from tests.perf.throughput import Plan
from tests.perf.traffic import KINDS


def main(
    repository: Annotated[Path | None, typer.Argument(help="Folder of the models.")] = None,
    model: Annotated[str | None, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")] = None,
    *,
    events: Annotated[
        int | None, typer.Option(help="In a backlog; by default by kind. Few: to try it.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="What was measured before.")] = None,
    output: Annotated[Path | None, typer.Option(help="File for what is measured.")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG or SVG file of the throughput.")] = None,
) -> None:
    """Measure unless told the figures; print the tables, and draw."""
    if figures is not None:
        found = json.loads(figures.read_text("utf-8"))
    elif repository is not None and model is not None:
        found = _measure(Plan(repository, model, num_events=events))
    else:
        raise typer.BadParameter("give a repository and a model, or --figures")
    if output is not None:
        output.write_text(f"{json.dumps(found)}\n", "utf-8")
    if picture is not None:
        draw(found, picture)
    typer.echo(tables(found))


def tables(found: dict[str, Any]) -> str:
    """Everything that was measured, as Markdown."""
    parts = (
        told(found["conditions"]),
        throughput_table(found["results"]),
        scaling_table(found["scaling"]),
        stages_table(found["stages"]),
    )
    return "\n\n".join(parts)


def _measure(plan: Plan) -> dict[str, Any]:
    results = asyncio.run(throughput.run_and_tell(plan, list(KINDS), peers_there()))
    scaled = asyncio.run(scaling.run_and_tell(plan, scaling.CASES, scaling.COUNTS))
    folder = ModelRepository(plan.repository).resolve(plan.model).folder
    # As the measured worker computes: two threads that wait for each other take more processor time.
    classifier = Classifier.load(folder, num_threads=1)
    classifier.warm_up(BatchSettings().max_batch)
    return {
        "conditions": conditions(plan.model),
        "results": [each.as_dict() for each in results],
        "scaling": [asdict(each) for each in scaled],
        "stages": stages.measure(classifier),
    }


if __name__ == "__main__":
    typer.run(main)
