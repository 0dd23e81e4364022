"""What a scraper sees."""

import math
import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain_text
from prometheus_client.registry import CollectorRegistry

from models.errors import ImageReason
from models.evidence_cache import EvidenceLookup, Modality
from schemas.dead_letters import Reason, Stage
from stream_app.metric_collectors import CategoryCounter
from stream_app.metric_labels import LaneKind, PipelineStep
from stream_app.metrics import ServiceMetrics

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(metrics: ServiceMetrics) -> Samples:
    body, _ = metrics.exposition()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_plain_text(body.decode())
        for sample in family.samples
    }


def value(metrics: ServiceMetrics, series: str, /, **labels: str) -> float:
    return samples(metrics)[series, frozenset(labels.items())]


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


def test_two_services_in_one_process_do_not_collide() -> None:
    first, second = ServiceMetrics(), ServiceMetrics()
    first.assigned(3)
    assert value(first, "shelver_assigned_total") == 3
    assert value(second, "shelver_assigned_total") == 0


def test_a_registry_can_be_handed_in() -> None:
    registry = CollectorRegistry()
    ServiceMetrics(registry).assigned(2)
    assert registry.get_sample_value("shelver_assigned_total") == 2


def test_every_error_counter_is_there_at_zero(metrics: ServiceMetrics) -> None:
    found = samples(metrics)
    for stage in Stage:
        for reason in Reason:
            assert found["shelver_dead_letters_total", frozenset({("stage", stage), ("reason", reason)})] == 0
    for outcome in ImageReason:
        assert found["shelver_images_total", frozenset({("outcome", outcome)})] == 0
    assert found["shelver_commits_total", frozenset({("outcome", "failed")})] == 0
    assert found["shelver_event_age_out_of_range_total", frozenset({("fault", "negative")})] == 0
    assert all(found["shelver_retries_total", frozenset({("stage", step)})] == 0 for step in PipelineStep)


def test_records_are_counted_by_what_they_were(metrics: ServiceMetrics) -> None:
    metrics.listings_consumed(5)
    metrics.delistings()
    assert value(metrics, "shelver_records_consumed_total", outcome="listing") == 5
    assert value(metrics, "shelver_records_consumed_total", outcome="delisting") == 1


def test_dead_letters_are_counted_by_stage_and_reason(metrics: ServiceMetrics) -> None:
    metrics.dead_lettered(Stage.DECODE, Reason.MALFORMED)
    metrics.dead_lettered(Stage.DECODE, Reason.MALFORMED, 2)
    assert value(metrics, "shelver_dead_letters_total", stage="decode", reason="malformed") == 3


def test_pictures_are_counted_by_outcome(metrics: ServiceMetrics) -> None:
    metrics.picture(None, 4)
    metrics.pictures_skipped(5)
    metrics.picture(ImageReason.BLOCKED)
    assert value(metrics, "shelver_images_total", outcome="used") == 4
    assert value(metrics, "shelver_images_total", outcome="skipped") == 5
    assert value(metrics, "shelver_images_total", outcome="blocked") == 1


def test_latencies_fall_into_cumulative_buckets(metrics: ServiceMetrics) -> None:
    metrics.latencies([0.01, 0.02, 0.3, 4_000.0])
    metrics.latency(0.3)
    assert value(metrics, "shelver_event_latency_seconds_bucket", le="0.01") == 1
    assert value(metrics, "shelver_event_latency_seconds_bucket", le="0.025") == 2
    assert value(metrics, "shelver_event_latency_seconds_bucket", le="0.5") == 4
    assert value(metrics, "shelver_event_latency_seconds_bucket", le="3600.0") == 4
    assert value(metrics, "shelver_event_latency_seconds_bucket", le="+Inf") == 5
    assert value(metrics, "shelver_event_latency_seconds_count") == 5
    assert value(metrics, "shelver_event_latency_seconds_sum") == pytest.approx(4_000.63)


def test_ages_that_cannot_be_true_stay_out_of_the_latency(metrics: ServiceMetrics) -> None:
    metrics.latencies([-0.001, 86_400.1, 1.7e9, 0.5])
    assert value(metrics, "shelver_event_latency_seconds_count") == 1
    assert value(metrics, "shelver_event_age_out_of_range_total", fault="negative") == 1
    assert value(metrics, "shelver_event_age_out_of_range_total", fault="over_one_day") == 2


def test_an_empty_batch_of_latencies_changes_nothing(metrics: ServiceMetrics) -> None:
    metrics.latencies([])
    assert value(metrics, "shelver_event_latency_seconds_count") == 0


def test_a_step_is_timed_also_when_it_raises() -> None:
    times = iter([10.0, 10.2, 20.0, 20.7])
    metrics = ServiceMetrics(clock=lambda: next(times))
    with metrics.stage(PipelineStep.PREPARE):
        pass
    with pytest.raises(KeyError), metrics.stage(PipelineStep.PREPARE):
        raise KeyError
    assert value(metrics, "shelver_stage_seconds_count", stage="prepare") == 2
    assert value(metrics, "shelver_stage_seconds_sum", stage="prepare") == pytest.approx(0.9)


def test_gauges_hold_the_last_value(metrics: ServiceMetrics) -> None:
    metrics.queue_depth(7, 4_096)
    metrics.batches_in_flight(2)
    metrics.batch_scored(64)
    assert value(metrics, "shelver_queue_records") == 7
    assert value(metrics, "shelver_queue_bytes") == 4_096
    assert value(metrics, "shelver_batches_in_flight") == 2
    assert value(metrics, "shelver_batch_size_bucket", le="64.0") == 1


def test_commits_are_counted_by_how_they_ended(metrics: ServiceMetrics) -> None:
    metrics.committed()
    metrics.commit_failed()
    metrics.retried(PipelineStep.PUBLISH)
    assert value(metrics, "shelver_commits_total", outcome="committed") == 1
    assert value(metrics, "shelver_commits_total", outcome="failed") == 1
    assert value(metrics, "shelver_retries_total", stage="publish") == 1


def test_lookups_of_evidence_are_counted_by_modality_and_outcome(metrics: ServiceMetrics) -> None:
    metrics.evidence_looked_up(Modality.TEXT, EvidenceLookup.SHARED, 3)
    metrics.evidence_looked_up(Modality.IMAGE, EvidenceLookup.HIT, 2)
    assert value(metrics, "shelver_evidence_lookups_total", modality="text", outcome="shared") == 3
    assert value(metrics, "shelver_evidence_lookups_total", modality="image", outcome="hit") == 2
    assert value(metrics, "shelver_evidence_lookups_total", modality="text", outcome="miss") == 0


def test_a_reloaded_model_replaces_the_one_before(metrics: ServiceMetrics) -> None:
    num_series = len(samples(metrics))
    for number in range(50):
        metrics.model_loaded("fusion", str(number))
    assert value(metrics, "shelver_model_info", name="fusion", version="49") == 1
    assert value(metrics, "shelver_model_loaded_timestamp_seconds") > 1.7e9
    assert len(samples(metrics)) == num_series


def test_neither_hostile_traffic_nor_reloads_add_series(metrics: ServiceMetrics) -> None:
    codes = [*range(26), '"} evil{x="']
    metrics.model_loaded("fusion", "1", codes)
    metrics.corrected_accuracy(dict.fromkeys(codes, 0.5))
    num_series = len(samples(metrics))
    choose = random.Random(1)  # noqa: S311 - traffic, no secret
    for number in range(10_000):
        if number % 200 == 0:
            metrics.model_loaded(f"fusion\n{number}", str(number), codes)
            metrics.corrected_accuracy(dict.fromkeys(codes, choose.random()))
        metrics.categorised([f"https://{number}.example", "other"], np.array([0, 0, 1]), np.full(3, 0.5))
        metrics.categorised(codes, np.array([26]), np.array([1.0000001], np.float32))
        metrics.listings_consumed()
        metrics.dead_lettered(choose.choice(list(Stage)), choose.choice(list(Reason)))
        metrics.picture(choose.choice([None, *ImageReason]))
        metrics.evidence_looked_up(choose.choice(list(Modality)), choose.choice(list(EvidenceLookup)), 2)
        metrics.latency(choose.expovariate(1.0))
        metrics.observe_stage(choose.choice(list(PipelineStep)), choose.random())
        metrics.batch_scored(choose.randrange(1, 2_000))
    assert len(samples(metrics)) == num_series
    assert num_series <= 500


def test_categories_are_counted_by_code_and_confidence_by_bucket(metrics: ServiceMetrics) -> None:
    metrics.model_loaded("fusion", "1", [2583, "books"])
    metrics.categorised([2583, "books"], np.array([1, 1, 0]), np.array([0.95, 0.15, 1.0000001], np.float32))
    assert value(metrics, "shelver_categories_assigned_total", category="2583") == 1
    assert value(metrics, "shelver_categories_assigned_total", category="books") == 2
    assert value(metrics, "shelver_categories_assigned_total", category="other") == 0
    assert value(metrics, "shelver_confidence_bucket", le="0.2") == 1
    assert value(metrics, "shelver_confidence_bucket", le="1.0") == 3
    assert value(metrics, "shelver_confidence_count") == 3


def test_a_batch_of_the_version_before_is_counted_under_the_categories_that_are_left(
    metrics: ServiceMetrics,
) -> None:
    metrics.model_loaded("fusion", "1", ["a", "b"])
    metrics.categorised(["a", "b"], np.array([0, 1, 1]), np.ones(3))
    metrics.model_loaded("fusion", "2", ["b", "c"])
    metrics.categorised(["a", "b"], np.array([0, 1]), np.ones(2))
    found = {
        labels: number
        for (name, labels), number in samples(metrics).items()
        if name == "shelver_categories_assigned_total"
    }
    assert found == {
        frozenset({("category", "b")}): 3,
        frozenset({("category", "c")}): 0,
        frozenset({("category", "other")}): 1,
    }


@given(
    codes=st.lists(st.one_of(st.integers(), st.text(max_size=20)), unique_by=str, min_size=1, max_size=300),
    data=st.data(),
)
def test_whatever_the_categories_are_each_event_is_counted_once_and_series_are_bounded(
    codes: list[int | str], data: st.DataObject
) -> None:
    counter = CategoryCounter("shelver_categories_assigned", "")
    counter.follow(codes)
    columns = data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=20))
    counter.count(codes, np.array(columns, np.int64))
    counted = [sample.value for family in counter.collect() for sample in family.samples]
    assert len(counted) <= 101
    assert sum(counted) == len(columns)
    assert sum(1 for number in counted if number) <= len(set(columns))


def test_partitions_that_are_taken_away_disappear(metrics: ServiceMetrics) -> None:
    metrics.progress(
        {(LaneKind.LISTINGS, 0): 3, (LaneKind.LISTINGS, 11): 4, (LaneKind.EXPLANATIONS, 0): 0},
        {LaneKind.LISTINGS: 2.5},
        1,
    )
    assert value(metrics, "shelver_partition_lag_records", lane="listings", partition="11") == 4
    assert value(metrics, "shelver_partition_lag_records", lane="explanations", partition="0") == 0
    assert value(metrics, "shelver_consumer_lag_records") == 7
    assert value(metrics, "shelver_watermark_age_seconds", lane="listings") == 2.5
    assert value(metrics, "shelver_watermark_age_seconds", lane="corrections") == 0
    metrics.progress({(LaneKind.LISTINGS, 0): 2}, {}, 0)
    partitions = [labels for name, labels in samples(metrics) if name == "shelver_partition_lag_records"]
    assert partitions == [frozenset({("lane", "listings"), ("partition", "0")})]
    assert value(metrics, "shelver_watermark_age_seconds", lane="listings") == 0


def test_a_gpu_is_there_at_zero_until_there_is_one(metrics: ServiceMetrics) -> None:
    assert value(metrics, "shelver_gpu_memory_bytes", kind="total") == 0
    assert value(metrics, "shelver_gpu_utilisation_ratio") == 0
    metrics.gpu(2**30, 2**36, math.nan)
    assert value(metrics, "shelver_gpu_memory_bytes", kind="used") == 2**30
    assert value(metrics, "shelver_gpu_memory_bytes", kind="total") == 2**36
    assert math.isnan(value(metrics, "shelver_gpu_utilisation_ratio"))


def test_waits_of_a_batch_are_recorded_at_once_for_either_lane(metrics: ServiceMetrics) -> None:
    metrics.queue_waits(np.array([0.001, 0.3]))
    metrics.explanation_gauges.queue_waits(np.array([0.02]))
    metrics.batch_limit(64)
    assert value(metrics, "shelver_queue_wait_seconds_bucket", le="0.001") == 1
    assert value(metrics, "shelver_queue_wait_seconds_count") == 2
    assert value(metrics, "shelver_explanation_queue_wait_seconds_sum") == pytest.approx(0.02)
    assert value(metrics, "shelver_batch_limit_records") == 64


def test_a_label_outside_the_enums_is_refused(metrics: ServiceMetrics) -> None:
    with pytest.raises(KeyError):
        metrics.dead_lettered(Stage.DECODE, "https://example.com")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "accept", [OPENMETRICS, PROMETHEUS_3, "application/openmetrics-text;version=nonsense"]
)
def test_openmetrics_is_given_to_a_scraper_that_asks_for_it(metrics: ServiceMetrics, accept: str) -> None:
    metrics.latencies([0.1, 0.2])
    metrics.dead_lettered(Stage.INFERENCE, Reason.NON_FINITE_SCORES)
    body, content_type = metrics.exposition(accept)
    assert content_type.startswith("application/openmetrics-text")
    parsed = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    assert families["shelver_dead_letters"].type == "counter"
    assert families["shelver_event_latency_seconds"].type == "histogram"
    assert families["shelver_model"].type == "info"
    assert families["shelver_queue_records"].type == "gauge"


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "text/plain;version=nonsense", "\x00"])
def test_anything_else_gets_plain_text(metrics: ServiceMetrics, accept: str) -> None:
    body, content_type = metrics.exposition(accept)
    assert content_type.startswith("text/plain")
    assert b"shelver_assigned_total 0.0" in body


def test_names_have_the_prefix_and_base_units(metrics: ServiceMetrics) -> None:
    ours = {name for name, _ in samples(metrics) if not name.startswith(("python_", "process_"))}
    assert all(name.startswith("shelver_") for name in ours)
    assert not {name for name in ours if name.endswith(("_ms", "_kb", "_created"))}


def test_process_platform_and_release_are_told(metrics: ServiceMetrics) -> None:
    names = {name for name, _ in samples(metrics)}
    assert {
        "process_resident_memory_bytes",
        "python_info",
        "python_gc_collections_total",
        "shelver_build_info",
    } <= names


def test_threads_do_not_lose_counts(metrics: ServiceMetrics) -> None:
    def work() -> None:
        for _ in range(500):
            metrics.latencies([0.1] * 4)
            metrics.assigned()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "shelver_event_latency_seconds_count") == 8_000
    assert value(metrics, "shelver_assigned_total") == 2_000
