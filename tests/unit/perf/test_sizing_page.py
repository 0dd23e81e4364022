"""The page on how many workers names settings and metrics that exist."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from stream_app.metrics import ServiceMetrics
from stream_app.settings import Settings

PAGE = Path(__file__).parents[3] / ".docs" / "throughput.md"


def test_its_settings_exist() -> None:
    named = set(re.findall(r"SHELVER_([A-Z_]*[A-Z])", PAGE.read_text("utf-8")))
    assert len(named) > 8
    assert not {name.lower() for name in named} - Settings.model_fields.keys()


def test_its_metrics_exist() -> None:
    named = set(re.findall(r"`(shelver_\w+)", PAGE.read_text("utf-8")))
    registry = CollectorRegistry()
    ServiceMetrics(registry)
    assert len(named) > 4
    assert not named - {family.name for family in registry.collect()}
