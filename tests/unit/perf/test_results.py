"""Figures become tables and a picture as they were measured."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.perf.chart import draw
from tests.perf.report import tables
from tests.perf.results import conditions, ratios, scaling_table, stages_table, told


def _latency(p50_ms: float, p99_ms: float) -> dict[str, float]:
    return {"asked_per_second": 9.0, "per_second": 9.0, "p50_ms": p50_ms, "p99_ms": p99_ms}


def _result(kind: str, peer: str, per_second: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "peer": peer,
        "events": 10,
        "capacity": {"per_second": per_second, "cpu_us": 250.4},
        "idle": _latency(21.2, 27.9),
        "latencies": {"50%": _latency(30.0, 45.0), "90%": _latency(60.0, 1_234.0)},
    }


def _found() -> dict[str, Any]:
    return {
        "conditions": conditions("demo"),
        "results": [
            _result("text", "shelver", 4_000.0),
            _result("text", "http", 3_000.0),
            _result("mixed", "http", 50.0),
        ],
        "scaling": [
            {"kind": "text", "workers": 1, "capacity": {"per_second": 4_000.0, "cpu_us": 200.0}},
            {"kind": "text", "workers": 2, "capacity": {"per_second": 6_000.0, "cpu_us": 210.0}},
        ],
        "stages": [
            {"listings": kind, "step": step, "events_per_s": 9, "cpu_us_per_event": us}
            for kind, step, us in (
                ("text", "a", 10.4),
                ("text", "b", 20.4),
                ("mixed", "a", 1),
                ("mixed", "b", 2),
            )
        ],
    }


def test_a_ratio_is_to_the_worker_on_the_same_kind() -> None:
    assert ratios(_found()["results"]) == [1.0, 0.75, None]


def test_tables_hold_what_was_measured() -> None:
    text = tables(_found())
    assert "| text | http | 3,000 | 0.75 | 250 | 21, 28 | 30, 45 | 60, 1234 |" in text
    assert "| mixed | http | 50 |  | 250 |" in text


def test_scaling_is_told_from_the_first_number_of_workers() -> None:
    assert "| text | 2 | 6,000 | 1.50 | 210 |" in scaling_table(_found()["scaling"])


def test_steps_are_summed_before_they_are_rounded() -> None:
    assert stages_table(_found()["stages"]).endswith("| sum | 31 | 3 |")


@pytest.mark.parametrize(("identity", "words"), [(False, "model demo"), (True, "no model")])
def test_conditions_name_the_model(words: str, *, identity: bool) -> None:
    assert words in told(conditions("demo", identity=identity))


def test_the_picture_has_its_own_paper(tmp_path: Path) -> None:
    picture = tmp_path / "throughput.png"
    draw(_found(), picture)
    with Image.open(picture) as image:
        assert image.getpixel((0, 0)) == (255, 255, 255, 255)
        assert len(image.convert("L").getcolors() or ()) > 2
