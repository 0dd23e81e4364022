"""Draw the dashboards, laid out as in Grafana, with what Prometheus scraped from a worker under load.

uv run python -m tests.perf.dashboards REPOSITORY NAME CATALOGUE FOLDER [--minutes 4]

No Grafana is needed: the committed dashboards say what stands where, Prometheus answers their queries, and
matplotlib draws. Half-way a burst comes in at once.
"""

import asyncio
import json
import math
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stream_app.broker import EmbeddedBroker
from tests.expressions import DASHBOARDS
from tests.integration.prometheus import Prometheus
from tests.integration.scripted_load import Load, running
from tests.integration.workers import Topics, Worker
from tests.picture_server import PUBLIC, PictureServer, allowing, response
from tests.pictures import USABLE

COLUMN_INCHES, LINE_INCHES = 0.62, 0.36
TEXT, PALE, PAPER, CARD = "#1f2328", "#6e7781", "#f4f5f5", "#ffffff"
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
    *("#8a6d00", "#5e3c99", "#a6761d", "#444444", "#66a61e", "#e7298a"),
)
STEP_SECONDS = 2
BURST = 6_000

Json = Mapping[str, Any]
Lines = Sequence[tuple[str, Sequence[tuple[float, float]]]]


def main(
    repository: Annotated[Path, typer.Argument(help="Model repository.")],
    name: Annotated[str, typer.Argument(help="Model, with champion.")],
    catalogue: Annotated[Path, typer.Argument(help="Products to list.")],
    folder: Annotated[Path, typer.Argument(help="Where the pictures go, one for each dashboard.")],
    minutes: Annotated[float, typer.Option(help="How long the load lasts.")] = 4.0,
) -> None:
    """Run a worker under load and draw each dashboard into a PNG file."""
    asyncio.run(_measure(repository, name, catalogue, folder, minutes))


async def _measure(repository: Path, name: str, catalogue: Path, folder: Path, minutes: float) -> None:
    topics = Topics.named(lambda topic: f"{topic}.{uuid4().hex[:6]}")
    with tempfile.TemporaryDirectory() as temporary, EmbeddedBroker() as kafka:
        log = Path(temporary) / "worker.log"
        settings = {
            "model": f"{name}@champion",
            "shadow_model": f"{name}@champion",
            "shadow_share": 0.5,
            "topic_partitions": 4,
            **allowing(PUBLIC),
        }
        worker = Worker(kafka.bootstrap, topics, repository, log=log, **settings)
        async with PictureServer(response(USABLE["jpeg"][0])) as shop:
            with worker, Prometheus(Path(temporary), [f"127.0.0.1:{worker.port}"]) as prometheus:
                await worker.ready()
                load = Load.of(kafka.bootstrap, topics, catalogue, shop.url(""))
                started = time.time()
                async with running(load):
                    await asyncio.sleep(30 * minutes)
                    await load.texts(BURST)
                    await asyncio.sleep(30 * minutes)
                    for file in DASHBOARDS:
                        page = json.loads(file.read_text("utf-8"))
                        if page["uid"] != "shelver-runbook":
                            draw(page, prometheus, (started, time.time()), folder / f"{page['uid']}.png")


def draw(page: Json, prometheus: Prometheus, span: tuple[float, float], picture: Path) -> None:
    """Draw one dashboard with what happened between two times, in seconds since the epoch."""
    num_lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in page["panels"]) + 1
    width, height = 24 * COLUMN_INCHES, num_lines * LINE_INCHES
    figure = Figure((width, height), facecolor=PAPER)
    figure.text(
        0.008, 1 - 0.5 / num_lines, page["title"], fontsize=14, weight="bold", color=TEXT, va="center"
    )
    figure.text(0.3, 1 - 0.5 / num_lines, page["description"], fontsize=10, color=PALE, va="center")
    for panel in page["panels"]:
        left, top = panel["gridPos"]["x"] / 24, 1 - (panel["gridPos"]["y"] + 1) / num_lines
        wide, high = panel["gridPos"]["w"] / 24, panel["gridPos"]["h"] / num_lines
        if panel["type"] == "row":
            figure.text(left + 0.008, top - high / 2, panel["title"], fontsize=11, color=TEXT, va="center")
            continue
        lines = _asked(panel, prometheus, span)
        card = figure.add_axes(
            (left + 0.003, top - high + 0.15 / num_lines, wide - 0.006, high - 0.3 / num_lines)
        )
        card.set_facecolor(CARD)
        card.set(xticks=[], yticks=[])
        card.spines[:].set_color("#d8dee4")
        if panel["type"] == "stat":
            _number(card, panel, lines)
        else:
            inside = (
                left + 0.008 + 0.022,
                top - high + 2.6 / num_lines,
                wide - 0.042,
                high - 3.9 / num_lines,
            )
            _title(card, panel)
            _draw_lines(figure.add_axes(inside), panel, lines, span)
    figure.savefig(picture, dpi=80)


def _asked(panel: Json, prometheus: Prometheus, span: tuple[float, float]) -> Lines:
    found: list[tuple[str, Sequence[tuple[float, float]]]] = []
    for target in panel["targets"]:
        for series in prometheus.ask_over(target["expr"], *span, STEP_SECONDS):
            name = _named(target["legendFormat"], series["metric"])
            points = [(when, float(value)) for when, value in series["values"]]
            found.append((name, points))
    return found


def _named(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), template)


def _title(card: Axes, panel: Json) -> None:
    card.text(
        0.012,
        0.97,
        panel["title"],
        fontsize=10,
        weight="bold",
        color=TEXT,
        va="top",
        transform=card.transAxes,
    )


def _number(card: Axes, panel: Json, lines: Lines) -> None:
    _title(card, panel)
    values = [points[-1][1] for _, points in lines]
    value = values[0] if values else math.nan
    colour = TEXT
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if panel["options"]["colorMode"] == "value" and (step["value"] is None or value >= step["value"]):
            colour = {"green": "#1a7f37", "orange": "#bc4c00", "red": "#cf222e"}[step["color"]]
    card.text(
        0.5,
        0.4,
        told(value, panel["fieldConfig"]["defaults"]["unit"]),
        fontsize=21,
        color=colour,
        ha="center",
        va="center",
        transform=card.transAxes,
    )


def _draw_lines(axes: Axes, panel: Json, lines: Lines, span: tuple[float, float]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["custom"]["stacking"]["mode"] == "normal":
        _stack(axes, lines, span)
    else:
        for (name, points), colour in zip(lines, _colours(), strict=False):
            when, values = zip(*points, strict=True)
            axes.plot([each - span[0] for each in when], values, color=colour, linewidth=1.2, label=name)
    top = max((value for _, points in lines for _, value in points if math.isfinite(value)), default=1.0)
    for step in defaults["thresholds"]["steps"][1:]:
        if defaults["custom"]["thresholdsStyle"]["mode"] == "dashed" and step["value"] <= 1.6 * top:
            axes.axhline(
                step["value"],
                color={"orange": "#E69F00", "red": "#cf222e"}[step["color"]],
                linewidth=0.8,
                linestyle="--",
            )
    axes.set_xlim(0, span[1] - span[0])
    if "max" in defaults:
        axes.set_ylim(0, 1.02 * defaults["max"])
    elif all(value >= 0 for _, points in lines for _, value in points):
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value, defaults["unit"])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02}"))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 3, 6]))
    axes.tick_params(labelsize=7, colors=PALE, length=2)
    axes.grid(visible=True, color="#eaeef2", linewidth=0.6)
    axes.spines[:].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    shown = [
        f"{label}  {told(points[-1][1], defaults['unit'])}"
        for label, (_, points) in zip(labels, lines, strict=False)
    ]
    axes.legend(
        handles[:8],
        shown[:8],
        loc="upper left",
        bbox_to_anchor=(-0.08, -0.16),
        ncols=2 if len(shown) < 5 else 4,
        fontsize=7,
        frameon=False,
        handlelength=1.0,
        columnspacing=1.0,
        borderaxespad=0,
        labelcolor=TEXT,
    )


def _stack(axes: Axes, lines: Lines, span: tuple[float, float]) -> None:
    grid = np.arange(0, span[1] - span[0], STEP_SECONDS)
    stacked = []
    for _, points in lines:
        when, values = np.array(points).T
        stacked.append(np.interp(grid, when - span[0], values, left=0.0, right=0.0))
    if stacked:
        axes.stackplot(
            grid,
            stacked,
            labels=[name for name, _ in lines],
            colors=list(_colours())[: len(lines)],
            alpha=0.75,
        )


def _colours() -> Iterable[str]:
    return (COLOURS[number % len(COLOURS)] for number in range(100))


def told(value: float, unit: str) -> str:
    """A value as Grafana writes it in this unit, about."""
    if not math.isfinite(value):
        return "no data"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return (
            f"{1000 * value:.3g} ms"
            if abs(value) < 1 and value
            else f"{value:.3g} s"
            if value < 120
            else f"{value / 60:.3g} min"
        )
    if unit == "bytes":
        return next(
            f"{value / size:.3g} {name}"
            for size, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
            if value >= size or size == 1
        )
    return (
        f"{value:,.0f}" + unit.removeprefix("suffix:") * unit.startswith("suffix:")
        if abs(value) >= 100
        else f"{value:.3g}" + unit.removeprefix("suffix:") * unit.startswith("suffix:")
    )


if __name__ == "__main__":
    typer.run(main)
