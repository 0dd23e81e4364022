"""Draw the dashboards, laid out as in Grafana, with what Prometheus scraped of worker and gateway under load.

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
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from stream_app.broker import EmbeddedBroker
from tests.expressions import DASHBOARDS
from tests.integration.gateways import Gateway
from tests.integration.prometheus import Prometheus
from tests.integration.scripted_load import Load, asking, running
from tests.integration.workers import Topics, Worker
from tests.picture_server import PUBLIC, PictureServer, allowing, response
from tests.pictures import USABLE

COLUMN_INCHES, LINE_INCHES = 0.62, 0.36
AXIS_INCHES, LETTERS_PER_INCH, LEGEND_LINES = 0.6, 15, 2
TEXT, PALE, PAPER, CARD = "#1f2328", "#6e7781", "#f4f5f5", "#ffffff"
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
    *("#8a6d00", "#5e3c99", "#a6761d", "#444444", "#66a61e", "#e7298a"),
)
LIMITS = {"green": "#1a7f37", "orange": "#bc4c00", "red": "#cf222e"}
SCALES = {
    "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")),
    "s": ((60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
}
STEP_SECONDS = 2
TEXTS_PER_SECOND, BURST = 100.0, 6_000

Json = Mapping[str, Any]
Lines = Sequence[tuple[str, Sequence[tuple[float, float]]]]


def main(
    repository: Annotated[Path, typer.Argument(help="Model repository.")],
    name: Annotated[str, typer.Argument(help="Model, with champion.")],
    catalogue: Annotated[Path, typer.Argument(help="Products to list.")],
    folder: Annotated[Path, typer.Argument(help="Where the pictures go, one for each dashboard.")],
    minutes: Annotated[float, typer.Option(help="How long the load lasts.")] = 4.0,
) -> None:
    """Run a worker and a gateway under load and draw each dashboard into a PNG file."""
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
        gateway_log = Path(temporary) / "gateway.log"
        gateway = Gateway(kafka.bootstrap, topics, repository, log=gateway_log, topic_partitions=4)
        ports = {"shelver": worker.port, "shelver-gateway": gateway.port}
        async with PictureServer(response(USABLE["jpeg"][0])) as shop:
            with worker, gateway, Prometheus(Path(temporary), ports) as prometheus:
                await worker.ready()
                await gateway.ready()
                load = Load.of(kafka.bootstrap, topics, catalogue, shop.url(""))
                started = time.time()
                async with running(load, TEXTS_PER_SECOND), asking(gateway, load.rows):
                    await asyncio.sleep(30 * minutes)
                    await load.texts(BURST)
                    await asyncio.sleep(30 * minutes)
                    span = (started, time.time())
                for file in DASHBOARDS:
                    page = json.loads(file.read_text("utf-8"))
                    if page["uid"] != "shelver-runbook":
                        draw(page, prometheus, span, folder / f"{page['uid']}.png")


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
            _title(card, panel)
            margin = AXIS_INCHES / width
            inside = figure.add_axes(
                (
                    left + margin,
                    top - high + 2.1 / num_lines,
                    wide - margin - 0.01,
                    high - 3.2 / num_lines,
                )
            )
            _legend(card, _draw_lines(inside, panel, lines, span), panel, lines)
    figure.savefig(picture, dpi=90)
    with Image.open(picture) as drawn:
        few_colours = drawn.convert("RGB").quantize(128)
    few_colours.save(picture, optimize=True)


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
            colour = LIMITS[step["color"]]
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


def _draw_lines(axes: Axes, panel: Json, lines: Lines, span: tuple[float, float]) -> list[Artist]:
    """Draw the lines of a panel and its limits; returns what stands for each line in a legend."""
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["custom"]["stacking"]["mode"] == "normal":
        drawn = _stack(axes, lines, span)
    else:
        drawn = [
            axes.plot([when - span[0] for when, _ in points], [value for _, value in points], color=colour)[0]
            for (_, points), colour in zip(lines, _colours(), strict=False)
        ]
    top = max((value for _, points in lines for _, value in points if math.isfinite(value)), default=0.0)
    if "max" in defaults:
        axes.set_ylim(0, 1.02 * defaults["max"])
    elif not any(value < 0 for _, points in lines for _, value in points):
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1] if top else 1)
    if defaults["custom"]["thresholdsStyle"]["mode"] == "dashed":
        for step in defaults["thresholds"]["steps"][1:]:
            if step["value"] <= 1.6 * top:
                axes.axhline(step["value"], color=LIMITS[step["color"]], linewidth=0.8, linestyle="--")
    _axis(axes, defaults["unit"], span[1] - span[0])
    return drawn


def _axis(axes: Axes, unit: str, seconds: float) -> None:
    axes.set_xlim(0, seconds)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02}"))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 3, 6]))
    axes.tick_params(labelsize=7, colors=PALE, length=2)
    axes.grid(visible=True, color="#eaeef2", linewidth=0.6)
    axes.spines[:].set_visible(False)


def _legend(card: Axes, drawn: Sequence[Artist], panel: Json, lines: Lines) -> None:
    """Names and latest values below the lines, as many as there is room for, the largest first."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    latest = [points[-1][1] for _, points in lines]
    order = sorted(range(len(lines)), key=lambda number: -np.nan_to_num(latest[number], nan=-math.inf))
    names = [f"{lines[number][0]}  {told(latest[number], unit)}" for number in order]
    room = panel["gridPos"]["w"] * COLUMN_INCHES * LETTERS_PER_INCH
    num_columns = max(1, int(room / (max(map(len, names), default=0) + 4)))
    num_shown = LEGEND_LINES * num_columns
    card.legend(
        [drawn[number] for number in order[:num_shown]],
        names[:num_shown],
        loc="lower left",
        ncols=min(num_columns, -(-len(names[:num_shown]) // LEGEND_LINES)),
        fontsize=7,
        frameon=False,
        handlelength=1.0,
        columnspacing=1.0,
        labelcolor=TEXT,
    )


def _stack(axes: Axes, lines: Lines, span: tuple[float, float]) -> list[Artist]:
    grid = np.arange(0, span[1] - span[0], STEP_SECONDS)
    heights = []
    for _, points in lines:
        when, values = np.array(points).T
        heights.append(np.interp(grid, when - span[0], np.nan_to_num(values), left=0.0))
    colours = list(_colours())[: len(lines)]
    return list(axes.stackplot(grid, heights, colors=colours, alpha=0.75)) if heights else []


def _colours() -> Iterable[str]:
    return (COLOURS[number % len(COLOURS)] for number in range(100))


def told(value: float, unit: str) -> str:
    """A value as Grafana writes it in this unit, about."""
    if not math.isfinite(value):
        return "no data"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    for size, name in SCALES.get(unit, ()):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    if abs(value) < 1e-3:
        value = 0
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return number + (unit.removeprefix("suffix:") if unit.startswith("suffix:") else "")


if __name__ == "__main__":
    typer.run(main)
