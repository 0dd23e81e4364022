"""The page of the gateway tells its routes and metrics, and nothing else."""

import re
import shlex
from urllib.parse import urlsplit

import pytest

from stream_app.edge.metrics import EdgeMetrics, Rejection
from stream_app.settings import EdgeSettings
from tests.gateway_page import PAGE, shown_requests
from tests.unit.stream_app.edge.applications import application

PAGE_TEXT = PAGE.read_text(encoding="utf-8")


def told_metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\| \S", PAGE_TEXT, re.MULTILINE)
    return {name: (kind, tuple(filter(None, labels.split(", ")))) for name, kind, labels in rows}


def exposed_metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    app = application()
    metrics: EdgeMetrics = app.state.edge.metrics
    metrics.answered("/", "GET", 200, 0.1)
    found = {}
    for family in metrics._registry.collect():
        if not family.name.startswith("shelver_gateway"):
            continue
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        suffix = "_total" if family.type == "counter" else ""
        found[family.name + suffix] = (family.type, tuple(sorted(labels)))
    return found


def test_the_page_tells_every_metric_with_its_type_and_labels() -> None:
    assert told_metrics() == exposed_metrics()
    assert all(reason in PAGE_TEXT for reason in Rejection)


def test_every_variable_that_the_page_names_is_a_setting() -> None:
    named = set(re.findall(r"SHELVER_\w+", PAGE_TEXT))
    assert len(named) > 10
    assert named <= {f"SHELVER_{name.upper()}" for name in EdgeSettings.model_fields}


def test_every_route_is_shown() -> None:
    paths = application().openapi()["paths"]
    shown = [
        urlsplit(next(word for word in shlex.split(each) if "://" in word)).path for each in shown_requests()
    ]
    for path in paths:
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
        is_shown = any(re.fullmatch(pattern, each) for each in shown)
        assert is_shown or path.startswith("/api/v1/"), path


@pytest.mark.parametrize("request_shown", shown_requests())
def test_no_request_leaves_this_machine(request_shown: str) -> None:
    assert " http://127.0.0.1:8000/" in request_shown
