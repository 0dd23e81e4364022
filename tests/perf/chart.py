"""Draw what `tests.perf.throughput` has measured: events a second beside the worker's, and their latency.

uv run python -m tests.perf.chart RESULTS.json PICTURE.png
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.perf.results import OURS, ratios, told

COLOURS = ("#0072B2", "#999999")
"""Ours and others': of Okabe and Ito's palette, told apart by lightness too."""
TEXT, PAPER = "#222222", "#FFFFFF"
"""Paper of its own, so that a dark page does not swallow the text."""
BAR_INCHES, WIDTH_INCHES = 0.34, 9.6

Result = dict[str, Any]


def main(
    results: Annotated[Path, typer.Argument(help="What --output of the measurement wrote.")],
    picture: Annotated[Path, typer.Argument(help="PNG or SVG file to write.")],
) -> None:
    """Draw one row of two panels for each kind of listings."""
    draw(json.loads(results.read_text("utf-8")), picture)


def draw(measured: dict[str, Any], picture: Path) -> None:
    """Write the picture of ``{"conditions": ..., "results": [...]}``."""
    by_kind: dict[str, list[Result]] = {}
    for result in measured["results"]:
        by_kind.setdefault(result["kind"], []).append(result)
    heights = [len(results) + 2 for results in by_kind.values()]
    figure = Figure((WIDTH_INCHES, BAR_INCHES * sum(heights) + 0.7), facecolor=PAPER, layout="constrained")
    rows = figure.subplots(len(by_kind), 2, squeeze=False, height_ratios=heights)
    for (rates, times), (kind, results) in zip(rows, by_kind.items(), strict=True):
        _rates(rates, kind, results)
        _times(times, kind, results)
    figure.suptitle(told(measured["conditions"]), fontsize=9, color=TEXT)
    figure.savefig(picture, dpi=150)


def _rates(axes: Axes, kind: str, results: Sequence[Result]) -> None:
    rates = [result["capacity"]["per_second"] for result in results]
    labels = [
        f"{rate:,.0f}" + ("" if ratio is None else f"  ({ratio:.2f} x)")
        for rate, ratio in zip(rates, ratios(results), strict=True)
    ]
    _bars(axes, results, rates, labels)
    axes.set_title(f"{kind}: events a second", fontsize=10, color=TEXT, loc="left")


def _times(axes: Axes, kind: str, results: Sequence[Result]) -> None:
    times = [result["latencies"]["50%"]["p99_ms"] for result in results]
    _bars(axes, results, times, [f"{each:,.0f} ms" for each in times])
    axes.set_title(f"{kind}: ms for 99 % at half its capacity", fontsize=10, color=TEXT, loc="left")


def _bars(axes: Axes, results: Sequence[Result], values: Sequence[float], labels: Sequence[str]) -> None:
    names = [result["peer"] for result in results]
    colours = [COLOURS[name != OURS] for name in names]
    bars = axes.barh(names, values, color=colours, edgecolor=TEXT, linewidth=0.5)
    axes.bar_label(bars, labels, padding=3, fontsize=9, color=TEXT)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.35 * max(values))
    axes.set_facecolor(PAPER)
    axes.tick_params(colors=TEXT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    typer.run(main)
