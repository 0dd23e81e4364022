"""What PromQL expressions ask for, and whether they may: which metrics, and rates of counters only."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

OF_PROMETHEUS = {"up": "gauge"}
"""Metrics that Prometheus makes itself."""
OF_COUNTERS = ("rate", "irate", "increase", "resets")
OF_GAUGES = ("deriv", "delta", "idelta", "predict_linear")
_WORDS = {
    *(
        "and",
        "or",
        "unless",
        "bool",
        "offset",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
    ),
    *("inf", "nan"),
}
_PARTS_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


class Expression(NamedTuple):
    """An expression and the place where it stands."""

    place: str
    text: str


def panels(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The panels of a dashboard that show something."""
    return (panel for panel in page["panels"] if panel["type"] != "row")


def of_dashboards() -> list[Expression]:
    """Every expression of every panel, the variables of Grafana in it."""
    pages = [json.loads(file.read_text("utf-8")) for file in DASHBOARDS]
    return [
        Expression(f"{page['uid']}: {panel['title']}", target["expr"])
        for page in pages
        for panel in panels(page)
        for target in panel.get("targets", ())
    ]


def of_alerts() -> list[Expression]:
    """The expression of every alert."""
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [Expression(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def metrics_in(expression: str) -> set[str]:
    """The names of the metrics that an expression selects, as they stand there."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}", " ", bare)
    bare = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w.$])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])", bare)
    return {name for name in names if name.lower() not in _WORDS}


def kind_of(name: str, kinds: Mapping[str, str]) -> str | None:
    """The type of a metric, given those of all; a part of a histogram counts like a counter."""
    for part in _PARTS_OF_A_HISTOGRAM:
        if kinds.get(name.removesuffix(part)) == "histogram" and name.endswith(part):
            return "counter"
    kind = {**kinds, **OF_PROMETHEUS}.get(name)
    # A histogram has no series of its own name.
    return None if kind == "histogram" else kind


def faults(expression: str, kinds: Mapping[str, str]) -> list[str]:
    """What is wrong with an expression, given the types of all metrics; nothing when all is well."""
    found = [
        f"there is no metric {name}"
        for name in sorted(metrics_in(expression))
        if kind_of(name, kinds) is None
    ]
    for functions, wanted in ((OF_COUNTERS, "counter"), (OF_GAUGES, "gauge")):
        for function, inner in re.findall(rf"\b({'|'.join(functions)})\s*\(\s*([\w:]+)", expression):
            kind = kind_of(inner, kinds)
            if kind is None and wanted == "counter":
                found.append(f"{function}() of {inner}, which is no counter")
            elif kind is not None and kind != wanted:
                found.append(f"{function}() of {inner}, a {kind}")
    return found
