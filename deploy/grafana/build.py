"""Write the dashboards that Grafana provisions, and the runbook as one of them.

uv run python -m deploy.grafana.build
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.grafana.explanations import EXPLANATIONS
from deploy.grafana.gateway import GATEWAY
from deploy.grafana.host import HOST
from deploy.grafana.latency import LATENCY
from deploy.grafana.panels import SHARE, Dashboard, Panel, Processes, Row
from deploy.grafana.quality import QUALITY
from deploy.grafana.throughput import THROUGHPUT

HERE = Path(__file__).parent
ALERTS_FILE = HERE.parent / "prometheus" / "alerts.yml"
RUNBOOK_FILE = HERE.parents[1] / ".docs" / "runbook.md"
DASHBOARDS_FOLDER = HERE / "dashboards"

DASHBOARDS = (THROUGHPUT, LATENCY, QUALITY, EXPLANATIONS, HOST, GATEWAY)
RUNBOOK_UID = "shelver-runbook"
WIDTH, NUMBER_HEIGHT, LINES_HEIGHT, ENTRY_HEIGHT = 24, 4, 8, 12
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def alert_names() -> list[str]:
    """The alerts in the order of their file; the runbook's panels are numbered by it, from 1."""
    groups = yaml.safe_load(ALERTS_FILE.read_text("utf-8"))["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def runbook_entries(text: str) -> dict[str, str]:
    """The entries of the runbook: the name of an alert -> what stands under its heading."""
    parts = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))


def runbook_link(alert: str) -> str:
    """The path, within Grafana, of an alert's entry."""
    return f"/d/{RUNBOOK_UID}?viewPanel={alert_names().index(alert) + 1}"


def in_grafana(expression: str, processes: Processes) -> str:
    """An expression with the selector of processes and the range that Grafana fills in."""
    selector = f'instance=~"${processes.variable}"'
    return expression.replace("@", selector).replace("[~]", "[$__rate_interval]")


def built() -> dict[str, Json]:
    """Every dashboard by the name of its file."""
    pages = {f"{each.uid}.json": _page(each) for each in DASHBOARDS}
    return {**pages, f"{RUNBOOK_UID}.json": _runbook_page()}


def _page(dashboard: Dashboard) -> Json:
    panels: list[Json] = []
    top = 0
    for row in dashboard.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": _place(0, top, WIDTH, 1),
            }
        )
        height = NUMBER_HEIGHT if all(panel.is_number for panel in row.panels) else LINES_HEIGHT
        for panel, place in zip(row.panels, _places(row, top + 1, height), strict=True):
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel, dashboard.processes)})
        top += 1 + height
    variables = [_DATASOURCE, _chosen(dashboard.processes)]
    return _document(dashboard.uid, dashboard.title, dashboard.description, panels, variables)


def _places(row: Row, top: int, height: int) -> Iterable[Json]:
    width = WIDTH // len(row.panels)
    return (_place(number * width, top, width, height) for number in range(len(row.panels)))


def _place(left: int, top: int, width: int, height: int) -> Json:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel, processes: Processes) -> Json:
    kind = _number(panel) if panel.is_number else _lines(panel)
    return {
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": in_grafana(query.expression, processes),
                "legendFormat": query.legend,
                "instant": panel.is_number,
                "range": not panel.is_number,
            }
            for number, query in enumerate(panel.queries)
        ],
        "links": [{"title": f"Runbook: {panel.alert}", "url": runbook_link(panel.alert)}]
        if panel.alert
        else [],
        **kind,
    }


def _number(panel: Panel) -> Json:
    return {
        "type": "stat",
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value" if panel.limits else "none",
            "graphMode": "none",
            "textMode": "value",
        },
    }


def _lines(panel: Panel) -> Json:
    drawn = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.is_stacked else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
    }
    return {
        "type": "timeseries",
        "fieldConfig": {
            "defaults": {**_defaults(panel), "color": {"mode": "palette-classic"}, "custom": drawn},
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.limits:
        warning, alarm = panel.limits
        steps += [{"color": "orange", "value": warning}] if warning < alarm else []
        steps += [{"color": "red", "value": alarm}]
    defaults: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.unit == SHARE:
        defaults["decimals"] = 1
    if panel.maximum is not None:
        defaults |= {"min": 0, "max": panel.maximum}
    return defaults


def _runbook_page() -> Json:
    entries = runbook_entries(RUNBOOK_FILE.read_text("utf-8"))
    panels = [
        {
            "id": number,
            "type": "text",
            "title": alert,
            "gridPos": _place(0, (number - 1) * ENTRY_HEIGHT, WIDTH, ENTRY_HEIGHT),
            "options": {"mode": "markdown", "content": entries[alert]},
        }
        for number, alert in enumerate(alert_names(), start=1)
    ]
    return _document(RUNBOOK_UID, "Shelver / Runbook", "What each alert means and what to do.", panels, [])


_DATASOURCE = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {"text": "Prometheus", "value": "prometheus"},
}


def _chosen(processes: Processes) -> Json:
    return {
        "name": processes.variable,
        "label": processes.label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({processes.metric}, instance)", "refId": processes.variable},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _document(
    uid: str, title: str, description: str, panels: Sequence[Json], variables: Sequence[Mapping[str, Any]]
) -> Json:
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["shelver"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(variables)},
        "links": [
            {
                "title": "Shelver",
                "type": "dashboards",
                "tags": ["shelver"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": []},
        "panels": list(panels),
    }


def main() -> None:
    """Write every file anew."""
    for name, page in built().items():
        (DASHBOARDS_FOLDER / name).write_text(json.dumps(page, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
