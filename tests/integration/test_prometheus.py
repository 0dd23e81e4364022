"""Dashboards and alerts against a real Prometheus that scrapes a real worker and a real gateway at work."""

import asyncio
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.expressions import ALERTS, Expression, faults, metrics_in, of_alerts, of_dashboards
from tests.integration.gateways import Gateway
from tests.integration.prometheus import CHOSEN, CONFIG, Prometheus, labels_of, needs_prometheus, promtool
from tests.integration.scripted_load import Load, asking, running
from tests.integration.workers import Topics, Worker
from tests.picture_server import PUBLIC, PictureServer, allowing, response
from tests.pictures import USABLE

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
NUM_FOR_DRIFT = 600
MAX_SERIES = 500

pytestmark = needs_prometheus


def selectors_in(expression: Expression) -> list[Expression]:
    """Each selector of an expression alone: an alert that rightly does not fire has no data as a whole."""
    found = (
        re.findall(rf"\b{name}\b(?:\{{[^}}]*\}})?", expression.text) for name in metrics_in(expression.text)
    )
    return [Expression(expression.place, selector) for selectors in found for selector in selectors]


async def until_data(prometheus: Prometheus, expressions: list[Expression], seconds: float) -> list[str]:
    """What has no data after so many seconds; empty as soon as everything has."""
    deadline = time.monotonic() + seconds
    while missing := await asyncio.to_thread(prometheus.without_data, expressions):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    return missing


async def test_every_panel_and_alert_has_its_data(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    sample_catalogue: Path,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    out = (topics.assigned, topics.dead, topics.explained)
    await create_topics(topics.listed, topics.requested, topics.corrected, *out)
    async with PictureServer(response(USABLE["jpeg"][0])) as shop:
        load = Load.of(kafka.bootstrap, topics, sample_catalogue, shop.url(""))
        await load.texts(NUM_FOR_DRIFT)
        with (
            Worker(
                kafka.bootstrap,
                topics,
                demo_repository,
                log=tmp_path / "worker.log",
                shadow_model="demo@champion",
                shadow_share=1.0,
                **allowing(PUBLIC),
            ) as worker,
            Gateway(kafka.bootstrap, topics, demo_repository, log=tmp_path / "gateway.log") as gateway,
            Prometheus(tmp_path, {"shelver": worker.port, "shelver-gateway": gateway.port}) as prometheus,
        ):
            await worker.ready()
            await gateway.ready()
            await asyncio.to_thread(prometheus.ready)
            async with running(load), asking(gateway, load.rows):
                judged = [each for alert in of_alerts() for each in selectors_in(alert)]
                assert await until_data(prometheus, [*of_dashboards(), *judged], 90) == []
                renamed = Expression("a renamed metric", "sum(rate(shelver_assigned_categories_total[10s]))")
                assert prometheus.without_data([renamed])
                await _until_evaluated(prometheus)
                _check_rules(prometheus)
            _check_kinds(prometheus)
            _check_chosen_at_the_top(prometheus)
            _check_exposition(worker, "shelver_confidence")
            _check_exposition(gateway, "shelver_gateway_request_seconds")
            assert await gateway.stop() == 0
            assert await worker.stop() == 0


def _rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


async def _until_evaluated(prometheus: Prometheus) -> None:
    async with asyncio.timeout(60):
        while any(rule["health"] == "unknown" for rule in await asyncio.to_thread(_rules, prometheus)):
            await asyncio.sleep(0.5)


def _check_rules(prometheus: Prometheus) -> None:
    rules = _rules(prometheus)
    assert {rule["name"] for rule in rules} == {alert.place for alert in of_alerts()}
    assert {(rule["health"], rule.get("lastError")) for rule in rules} == {("ok", None)}
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert not firing


def _check_kinds(prometheus: Prometheus) -> None:
    kinds = prometheus.kinds()
    assert [fault for each in [*of_dashboards(), *of_alerts()] for fault in faults(each.text, kinds)] == []
    assert faults("rate(shelver_queue_records[5m])", kinds)
    partitions = labels_of(prometheus.ask("shelver_partition_lag_records"))
    assert {each["lane"] for each in partitions} == {"listings", "explanations", "corrections"}


def _check_chosen_at_the_top(prometheus: Prometheus) -> None:
    """A page of workers offers workers, and that of gateways gateways."""
    for processes, job in CHOSEN.items():
        assert {each["job"] for each in labels_of(prometheus.ask(processes.metric))} == {job}


def _check_exposition(process: Worker, family: str) -> None:
    status, plain = process.get("/metrics")
    assert status == 200
    assert not promtool("check", "metrics", text=plain)
    series = [line for line in plain.splitlines() if not line.startswith("#")]
    assert len(series) <= MAX_SERIES
    address, accept = f"http://127.0.0.1:{process.port}/metrics", {"Accept": PROMETHEUS_3}
    asked = urllib.request.Request(address, headers=accept)
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        families = parse_openmetrics(answer.read().decode())  # type: ignore[no-untyped-call]
        assert family in {each.name for each in families}


def test_configuration_and_alerts_are_sound_and_each_alert_fires_on_what_it_is_for() -> None:
    promtool("check", "config", str(CONFIG))
    promtool("check", "rules", str(ALERTS))
    tests = ALERTS.with_name("alerts.test.yml")
    promtool("test", "rules", str(tests))
    tested = set(re.findall(r"alertname: (\w+)", tests.read_text("utf-8")))
    assert tested == {alert.place for alert in of_alerts()}
