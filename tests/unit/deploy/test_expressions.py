"""Dashboards and alerts ask for metrics that there are; and the check of that finds what is wrong."""

from collections.abc import Iterable

import pytest
from prometheus_client import Metric

from stream_app.metrics import ServiceMetrics
from tests.expressions import Expression, faults, metrics_in, of_alerts, of_dashboards
from tests.unit.stream_app.edge.applications import application

SUFFIXES = {"counter": "_total", "info": "_info"}


def kinds_of(families: Iterable[Metric]) -> dict[str, str]:
    return {
        family.name + SUFFIXES.get(family.type, ""): "gauge" if family.type == "info" else family.type
        for family in families
    }


KINDS = kinds_of(ServiceMetrics().registry.collect())
KINDS_OF_GATEWAYS = kinds_of(application().state.edge.metrics._registry.collect())


@pytest.mark.parametrize("expression", [*of_dashboards(), *of_alerts()], ids=lambda each: each.place)
def test_every_expression_asks_for_metrics_of_a_worker_or_of_a_gateway(expression: Expression) -> None:
    is_of_gateways = expression.place.startswith(("shelver-gateway:", "ShelverGateway"))
    assert metrics_in(expression.text)
    assert not faults(expression.text, KINDS_OF_GATEWAYS if is_of_gateways else KINDS)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        (
            "sum(rate(shelver_assigned_category_total[5m]))",
            "there is no metric shelver_assigned_category_total",
        ),
        ('shelver_lag{lane="listings"} > 0', "there is no metric shelver_lag"),
        ("shelver_event_latency_seconds", "there is no metric shelver_event_latency_seconds"),
        ("rate(shelver_consumer_lag_records[5m])", "rate() of shelver_consumer_lag_records, a gauge"),
        ("increase( shelver_queue_bytes{a='b'}[5m])", "increase() of shelver_queue_bytes, a gauge"),
        ("rate(sum(shelver_assigned_total)[5m:])", "rate() of sum, which is no counter"),
        ("deriv(shelver_assigned_total[5m])", "deriv() of shelver_assigned_total, a counter"),
        ("delta(shelver_batch_size_sum[5m])", "delta() of shelver_batch_size_sum, a counter"),
    ],
)
def test_a_wrong_expression_is_found(expression: str, fault: str) -> None:
    assert fault in faults(expression, KINDS)


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up == 1 unless on (job, instance) a_total", {"up", "a_total"}),
        (
            'histogram_quantile(0.99, sum by (le, stage) (rate(b_bucket{x=~"c|d"}[$__rate_interval])))',
            {"b_bucket"},
        ),
        ("deriv(sum by (lane) (e)[15m:1m]) > 0 and on () e offset 5m > 1e3", {"e"}),
        ('time() - f{instance=~"$instance"} + bool_g > bool 2', {"f", "bool_g"}),
    ],
)
def test_the_metrics_of_an_expression_are_found(expression: str, metrics: set[str]) -> None:
    assert metrics_in(expression) == metrics
