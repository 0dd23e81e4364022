"""The page of metrics says what a worker exposes, and nothing else."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from stream_app.metric_labels import LaneKind
from stream_app.metrics import ServiceMetrics

PAGE = Path(__file__).parents[3] / ".docs" / "metrics.md"


class Told(NamedTuple):
    """What is said of a metric: its type, and its labels in alphabetical order."""

    kind: str
    labels: tuple[str, ...]


def told_by(page: str) -> dict[str, Told]:
    row = r"^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\| \S[^|]* \| \S[^|]*\? \|$"  # a meaning and a question
    rows = re.findall(row, page, re.MULTILINE)
    return {name: Told(kind, tuple(sorted(filter(None, labels.split(", "))))) for name, kind, labels in rows}


def exposed() -> dict[str, Told]:
    """Every metric by the name that expressions use, without the suffixes of a histogram."""
    metrics = ServiceMetrics()
    metrics.model_loaded("fusion", "1", [10])
    metrics.corrected_accuracy({10: 0.5})
    metrics.progress({(LaneKind.LISTINGS, 0): 1}, {}, 0)
    found = {}
    for family in metrics.registry.collect():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        kind = "gauge" if family.type == "info" else family.type
        found[family.name + suffix] = Told(kind, tuple(sorted(labels)))
    return found


def test_the_page_tells_every_metric_with_its_type_and_labels_and_no_other() -> None:
    assert told_by(PAGE.read_text("utf-8")) == exposed()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("`shelver_assigned_total`", "`shelver_assigned_categories_total`"),
        ("| `shelver_queue_records` | gauge |", "| `shelver_queue_records` | counter |"),
        ("| counter | stage, reason |", "| counter | stage |"),
        ("| virtual memory | Does it map ever more, resident or not? |", "| virtual memory | |"),
    ],
)
def test_a_page_that_is_wrong_is_found(before: str, after: str) -> None:
    page = PAGE.read_text("utf-8")
    assert before in page
    assert told_by(page.replace(before, after)) != exposed()
