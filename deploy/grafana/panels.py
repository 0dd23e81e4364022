"""What is on the dashboards: rows of panels, each a question, its queries, and how the answer reads.

In expressions `@` stands for the selector of the chosen processes, workers or gateways, and `[~]` for a range
that fits the scrape interval and the width of the panel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PER_SECOND = "suffix:/s"
SECONDS, BYTES, SHARE, NUMBER = "s", "bytes", "percentunit", "short"


@dataclass(frozen=True)
class Query:
    """An expression, and what each of its series is called (`{{label}}` is the label's value)."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """A panel.

    Attributes:
        title: the question in a few words.
        description: what is seen, and what to make of it.
        unit: of the values, by Grafana's name.
        queries: drawn together.
        is_number: whether the latest value is shown instead of lines.
        is_stacked: whether lines add up.
        limits: warning and alarm; values beyond are coloured.
        maximum: of the axis, where there is one.
        alert: whose runbook entry the panel links to.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    is_number: bool = False
    is_stacked: bool = False
    limits: tuple[float, float] | None = None
    maximum: float | None = None
    alert: str | None = None


@dataclass(frozen=True)
class Row:
    """Panels beside each other, under a title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Processes:
    """What a page is about, and chosen from at its top.

    Attributes:
        label: what one is called.
        variable: of Grafana; a name of its own, since links between pages hand variables on.
        metric: that each of them has, and nothing else.
    """

    label: str
    variable: str
    metric: str


WORKERS = Processes("Worker", "instance", "shelver_build_info")
GATEWAYS = Processes("Gateway", "gateway", "shelver_gateway_connected")


@dataclass(frozen=True)
class Dashboard:
    """A page; its file is named after ``uid``."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    processes: Processes = WORKERS


def number(
    title: str,
    expression: str,
    unit: str,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    alert: str | None = None,
) -> Panel:
    """A panel that shows one latest value."""
    return Panel(
        title, description, unit, (Query(expression, title),), is_number=True, limits=limits, alert=alert
    )


def ratio(part: str, whole: str) -> str:
    """A part of a whole; nothing, instead of a division by 0, while the whole is 0."""
    return f"{part} / ({whole} > 0)"


def quantiles(histogram: str, *quantiles: float, by: str = "", where: str = "") -> tuple[Query, ...]:
    """Quantiles of a histogram, of all chosen processes together.

    Args:
        histogram: its name.
        quantiles: from 0 to 1.
        by: a label whose values are told apart.
        where: further matchers of labels, each after a comma.
    """
    labels, legend = (f"{by}, le", f"{{{{{by}}}}} ") if by else ("le", "")
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by ({labels}) (rate({histogram}_bucket{{@{where}}}[~])))",
            f"{legend}p{quantile * 100:g}",
        )
        for quantile in quantiles
    )


DEAD_LETTERS = "sum(rate(shelver_dead_letters_total{@}[~]))"
DEAD_LETTERS_NOW = number(
    "Dead letters",
    ratio(
        DEAD_LETTERS,
        f"{DEAD_LETTERS} + sum(rate(shelver_assigned_total{{@}}[~])) "
        "+ sum(rate(shelver_explained_total{@}[~])) + sum(rate(shelver_corrections_total{@}[~]))",
    ),
    SHARE,
    "Share of what came out that is a dead letter.",
    limits=(0.01, 0.05),
    alert="ShelverDeadLetterShare",
)
