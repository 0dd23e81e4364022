"""Run faults against the real worker on a real Kafka and print what became of every listing.

``python -m tests.e2e.faults --listings 10000`` is the long form; ``--list`` says what there is.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.e2e.faults.ledger import FAULTS, Fault, run_faults
from tests.e2e.faults.row import Row
from tests.e2e.faults.scene import SECONDS_OF_FLOW, Stage
from training.run import compose_config, train
from training.samples import write_sample_catalogue

HEADINGS = [field.name.replace("_", " ") for field in fields(Row)]


def main() -> int:
    # Stopped either way, workers and brokers are ended first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = _arguments()
    if arguments.list:
        for fault in FAULTS:
            print(f"{fault.name:18} {fault.what}{' (long form only)' if fault.is_long else ''}")
        return 0
    chosen = _chosen(arguments.only, is_short=arguments.listings < 10_000)
    with tempfile.TemporaryDirectory(prefix="shelver-faults-") as folder:
        stage = Stage(
            arguments.repository or _demo_repository(Path(folder)),
            Path(folder),
            arguments.listings,
            arguments.listings / SECONDS_OF_FLOW,
        )
        rows = asyncio.run(_run(chosen, stage, arguments.at_once))
    _print_table(rows)
    if arguments.markdown:
        arguments.markdown.write_text(_markdown(rows, chosen))
    if arguments.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}))
    return 0 if all(row.holds for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.faults", description=__doc__)
    parser.add_argument("--listings", type=int, default=10_000, help="sent for each fault, in 10 s")
    parser.add_argument("--only", nargs="+", choices=[fault.name for fault in FAULTS], help="these faults")
    parser.add_argument("--at-once", type=int, default=1, help="faults that run at the same time")
    parser.add_argument("--repository", type=Path, help="with demo@champion; by default one is trained")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object")
    parser.add_argument("--list", action="store_true", help="say which faults there are")
    return parser.parse_args()


def _chosen(only: Sequence[str] | None, *, is_short: bool) -> list[Fault]:
    if only:
        return [fault for fault in FAULTS if fault.name in only]
    return [fault for fault in FAULTS if not (is_short and fault.is_long)]


def _demo_repository(folder: Path) -> Path:
    catalogue = write_sample_catalogue(folder / "catalogue", 600, 1)
    repository = folder / "repository"
    train(compose_config(["experiment=demo", f"data.root='{catalogue}'", f"repository='{repository}'"]))
    return repository


async def _run(faults: Sequence[Fault], stage: Stage, num_at_once: int) -> list[Row]:
    rows: list[Row] = []
    async for row in run_faults(faults, stage, num_at_once=num_at_once):
        print(f"{len(rows) + 1}/{len(faults)} {row}", file=sys.stderr)
        rows.append(row)
    order = [fault.name for fault in faults]
    return sorted(rows, key=lambda row: order.index(row.fault))


def _cells(row: Row) -> list[str]:
    *counts, seconds = asdict(row).values()
    return [*map(str, counts), f"{seconds:.1f}"]


def _print_table(rows: Sequence[Row]) -> None:
    table = Table()
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*_cells(row), style=None if row.holds else "red")
    Console(width=140).print(table)


def _markdown(rows: Sequence[Row], faults: Sequence[Fault]) -> str:
    what = {fault.name: fault.what for fault in faults}
    lines = [
        f"| {' | '.join(['fault', 'what happens', *HEADINGS[1:]])} |",
        "|" + " --- |" * (len(HEADINGS) + 1),
    ]
    for row in rows:
        name, *numbers = _cells(row)
        lines.append(f"| {' | '.join([f'`{name}`', what[name], *numbers])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
