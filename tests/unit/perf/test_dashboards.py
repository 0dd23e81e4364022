"""Dashboards are drawn from their JSON and what Prometheus answers."""

import json
import math
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from tests.expressions import DEPLOY
from tests.integration.prometheus import Prometheus, Series
from tests.perf.dashboards import draw, told


class Answers:
    """Answers each query with two series, but for lag: nobody lags."""

    def ask_over(self, expression: str, start: float, end: float, step_seconds: float) -> list[Series]:
        if "lag" in expression:
            return []
        times = [start + step_seconds * step for step in range(int((end - start) / step_seconds))]
        return [
            {"metric": {"outcome": name}, "values": [[each, value] for each in times]}
            for name, value in (("listing", "0.5"), ("delisting", "NaN"))
        ]


def test_a_dashboard_is_drawn_also_where_there_is_no_data(tmp_path: Path) -> None:
    page = json.loads((DEPLOY / "grafana" / "dashboards" / "shelver-throughput.json").read_text("utf-8"))
    draw(page, cast(Prometheus, Answers()), (1_000.0, 1_060.0), tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert min(picture.size) > 800


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (0.0, "s", "0"),
        (90.0, "s", "1.5 min"),
        (600.0, "s", "10 min"),
        (0.125, "percentunit", "12.5 %"),
        (3 * 2**20, "bytes", "3 MiB"),
        (0, "bytes", "0"),
        (1234.5, "short", "1,234"),
        (41.26, "suffix:/s", "41.3/s"),
        (math.nan, "short", "no data"),
    ],
)
def test_values_are_told_in_their_unit(value: float, unit: str, text: str) -> None:
    assert told(value, unit) == text
