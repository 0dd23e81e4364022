"""Every metric of the service: declared here, recorded in the domain's words, exposed as text.

The only module that knows prometheus_client. Labels hold values of enums and the loaded model's name and
version, never an id, a URL, a topic or an exception's text, so traffic does not add series.
Each `ServiceMetrics` has a registry of its own: two services in one process do not collide.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version as distribution_version

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from models.errors import ImageReason
from models.evidence_cache import EvidenceLookup, Modality
from schemas.dead_letters import Reason, Stage
from stream_app.image_cache import ImageLookup

SECONDS_PER_DAY = 86_400.0
STAGE_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LATENCY_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_OPENMETRICS_TYPE = "application/openmetrics-text"
OPENMETRICS = f"{_OPENMETRICS_TYPE};version=1.0.0"
"""What prometheus_client is asked for: it fails on some versions that a scraper may send."""


class RecordKind(StrEnum):
    """What a record on the listings topic was."""

    LISTING = "listing"
    DELISTING = "delisting"


class PipelineStep(StrEnum):
    """A timed part of the way of a batch."""

    DECODE = "decode"
    CASCADE = "cascade"
    FETCH_IMAGES = "fetch_images"
    PREPARE = "prepare"
    INFERENCE = "inference"
    PUBLISH = "publish"
    EXPLAIN = "explain"


class CommitOutcome(StrEnum):
    """How an offset commit ended."""

    COMMITTED = "committed"
    FAILED = "failed"


class ExplanationGauges:
    """Where the lane of explanations shows what it holds."""

    def __init__(self, gauge: Callable[[str, str], Gauge]) -> None:
        self._records = gauge("explanation_queue_records", "Requests fetched and waiting to be explained.")
        self._bytes = gauge("explanation_queue_bytes", "Bytes of these requests.")
        self._in_flight = gauge("explanation_batches_in_flight", "Batches of requests being explained.")

    def queue_depth(self, num_records: int, num_bytes: int) -> None:
        """Set what has been fetched and waits."""
        self._records.set(num_records)
        self._bytes.set(num_bytes)

    def batches_in_flight(self, num_batches: int) -> None:
        """Set how many batches are between forming and acknowledgement."""
        self._in_flight.set(num_batches)


class AgeFault(StrEnum):
    """Why a record's age was kept out of the latency histogram."""

    NEGATIVE = "negative"
    OVER_ONE_DAY = "over_one_day"


PICTURE_USED = "used"
PICTURE_SKIPPED = "skipped"


class BulkHistogram(Collector):
    """A histogram that records a whole batch in one step.

    Args:
        name: full metric name.
        description: one sentence for the exposition.
        bounds: upper bounds of the buckets, ascending, without infinity.
    """

    def __init__(self, name: str, description: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._description = description
        self._bounds = np.asarray(bounds, dtype=np.float64)
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe_all(self, values: NDArray[np.float64]) -> None:
        """Record finite values, shape (N,)."""
        buckets = np.searchsorted(self._bounds, values, side="left")
        counts = np.bincount(buckets, minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(values.sum())

    def collect(self) -> Iterable[Metric]:
        """Yield the histogram as cumulative buckets."""
        with self._lock:
            cumulative, total = self._counts.cumsum().tolist(), self._sum
        bounds = [*map(str, self._bounds.tolist()), "+Inf"]
        buckets = [(bound, float(count)) for bound, count in zip(bounds, cumulative, strict=True)]
        yield HistogramMetricFamily(self._name, self._description, buckets=buckets, sum_value=total)


class _WithoutCreationTimes(Collector):
    """A registry without its `_created` series: one for each counter, and no rule or dashboard reads them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class ServiceMetrics:
    """The counters, gauges and histograms of one running service.

    Safe to call from several threads. Every error counter is exposed at 0 from the start, so that an alert's
    `increase()` sees the first error.

    Args:
        registry: where the metrics are declared; by default a new registry of its own.
        clock: seconds on a clock that never goes back, for `stage`.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._clock = clock
        self._declare_event_metrics()
        self._declare_batch_metrics()
        self._declare_process_metrics()

    def listings_consumed(self, num_records: int = 1) -> None:
        """Count records that announce a product, whether they turn out valid or not."""
        self._consumed[RecordKind.LISTING].inc(num_records)

    def delistings(self, num_records: int = 1) -> None:
        """Count tombstones: records without a value, which delist a product."""
        self._consumed[RecordKind.DELISTING].inc(num_records)

    def assigned(self, num_events: int = 1) -> None:
        """Count categories whose delivery the broker confirmed."""
        self._assigned.inc(num_events)

    def explained(self, ages_seconds: Sequence[float], num_computed: int) -> None:
        """Count answers whose delivery the broker confirmed.

        Args:
            ages_seconds: of their requests, by the broker's timestamps.
            num_computed: how many explanations they took; requests for the same share one.
        """
        self._explained.inc(len(ages_seconds))
        self._explanations_shared.inc(len(ages_seconds) - num_computed)
        ages = np.asarray(ages_seconds, dtype=np.float64)
        self._explanation_latency.observe_all(ages[(ages >= 0.0) & (ages <= SECONDS_PER_DAY)])

    def dead_lettered(self, stage: Stage, reason: Reason, num_records: int = 1) -> None:
        """Count records whose dead letter the broker confirmed."""
        self._dead_letters[stage, reason].inc(num_records)

    def picture(self, reason: ImageReason | None, num_pictures: int = 1) -> None:
        """Count wanted pictures: `None` when used, else why the product was classified without it."""
        self._pictures[reason or PICTURE_USED].inc(num_pictures)

    def pictures_skipped(self, num_pictures: int) -> None:
        """Count pictures that nobody looked at, as the text alone was certain."""
        self._pictures[PICTURE_SKIPPED].inc(num_pictures)

    def picture_looked_up(self, lookup: ImageLookup) -> None:
        """Count one picture that was asked for by its address."""
        self._image_lookups[lookup].inc()

    def evidence_looked_up(self, modality: Modality, lookup: EvidenceLookup, num_contents: int) -> None:
        """Count texts or pictures that were compared with those that the model has seen."""
        self._evidence_lookups[modality, lookup].inc(num_contents)

    def latency(self, seconds: float) -> None:
        """Record one event's age when its category was published; see `latencies`."""
        self.latencies((seconds,))

    def latencies(self, seconds: Sequence[float] | NDArray[np.float64]) -> None:
        """Record the ages of a batch: published time minus the broker's timestamp of the source record.

        Ages below zero or above one day (wrong clocks, seconds taken for milliseconds) are counted apart and
        never reach the histogram. One pass over the batch: about 0.1 us an event in batches of 256.
        """
        ages = np.asarray(seconds, dtype=np.float64)
        sane = (ages >= 0.0) & (ages <= SECONDS_PER_DAY)
        self._latency.observe_all(ages[sane])
        if not sane.all():
            num_negative = int((ages < 0.0).sum())
            self._age_faults[AgeFault.NEGATIVE].inc(num_negative)
            self._age_faults[AgeFault.OVER_ONE_DAY].inc(int((~sane).sum()) - num_negative)

    def batch_scored(self, num_events: int) -> None:
        """Record the size of a micro-batch that went through the model."""
        self._batch_size.observe(num_events)

    def observe_stage(self, step: PipelineStep, seconds: float) -> None:
        """Record how long one step of a batch took."""
        self._stage_seconds[step].observe(seconds)

    @contextmanager
    def stage(self, step: PipelineStep) -> Iterator[None]:
        """Time the body of a `with` statement as one step of a batch, also when it raises."""
        started = self._clock()
        try:
            yield
        finally:
            self.observe_stage(step, self._clock() - started)

    def retried(self, step: PipelineStep) -> None:
        """Count one repeated attempt after a passing fault of the world (broker away, out of memory)."""
        self._retries[step].inc()

    def queue_depth(self, num_records: int, num_bytes: int) -> None:
        """Set what has been fetched and waits for a batch."""
        self._queue_records.set(num_records)
        self._queue_bytes.set(num_bytes)

    def batches_in_flight(self, num_batches: int) -> None:
        """Set how many batches are between forming and acknowledgement."""
        self._in_flight.set(num_batches)

    def progress(self, lag_records: int, num_stalled: int) -> None:
        """Set the records not dealt with in the partitions of this worker, and how many of these stall."""
        self._lag.set(lag_records)
        self._stalled.set(num_stalled)

    def loop_lag(self, seconds: float) -> None:
        """Set the most that the event loop was late lately."""
        self._loop_lag.set(seconds)

    def committed(self) -> None:
        """Count one offset commit that the broker confirmed."""
        self._commits[CommitOutcome.COMMITTED].inc()

    def commit_failed(self) -> None:
        """Count one offset commit that failed; its records are read again or committed later."""
        self._commits[CommitOutcome.FAILED].inc()

    def model_loaded(self, name: str, version: str) -> None:
        """Name the model version that scores from now on; it replaces the one before, in one series."""
        self._model.info({"name": name, "version": version})
        self._model_loaded_at.set_to_current_time()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Render all metrics in the format a scraper asks for.

        Args:
            accept: the request's `Accept` header: OpenMetrics where it asks for that, else plain text.

        Returns:
            The body and its content type.
        """
        encode, content_type = choose_encoder(OPENMETRICS if _OPENMETRICS_TYPE in accept.lower() else "")
        return encode(_WithoutCreationTimes(self.registry)), content_type

    def _declare_event_metrics(self) -> None:
        consumed = self._counter("records_consumed", "Records read from the listings topic.", "outcome")
        self._consumed = {kind: consumed.labels(kind) for kind in RecordKind}
        self._assigned = self._counter("assigned", "Categories published and confirmed by the broker.")
        self._explained = self._counter("explained", "Explanations published and confirmed by the broker.")
        self._explanations_shared = self._counter(
            "explanations_shared", "Of these, answered with what was computed for another request."
        )
        self._explanation_latency = BulkHistogram(
            "shelver_explanation_latency_seconds",
            "From the broker's timestamp of a request to its published explanation.",
            LATENCY_BUCKETS_SECONDS,
        )
        self.registry.register(self._explanation_latency)
        self.explanation_gauges = ExplanationGauges(self._gauge)
        dead_letters = self._counter(
            "dead_letters", "Records sent to the dead letter topic, by stage and reason.", "stage", "reason"
        )
        self._dead_letters = {(s, r): dead_letters.labels(s, r) for s in Stage for r in Reason}
        pictures = self._counter("images", "Wanted pictures: used, skipped, or why not used.", "outcome")
        self._pictures = {
            outcome: pictures.labels(outcome) for outcome in (PICTURE_USED, PICTURE_SKIPPED, *ImageReason)
        }
        lookups = self._counter(
            "image_lookups",
            "Pictures asked for by address: kept, shared with another, or fetched.",
            "outcome",
        )
        self._image_lookups = {lookup: lookups.labels(lookup) for lookup in ImageLookup}
        compared = self._counter(
            "evidence_lookups",
            "Texts and pictures by content: known to the model, the same as another of a batch, or computed.",
            "modality",
            "outcome",
        )
        self._evidence_lookups = {
            (modality, lookup): compared.labels(modality, lookup)
            for modality in Modality
            for lookup in EvidenceLookup
        }
        self._latency = BulkHistogram(
            "shelver_event_latency_seconds",
            "From the broker's timestamp of a listing to its published category.",
            LATENCY_BUCKETS_SECONDS,
        )
        self.registry.register(self._latency)
        age_faults = self._counter(
            "event_age_out_of_range", "Events whose age cannot be true, kept out of the latency.", "fault"
        )
        self._age_faults = {fault: age_faults.labels(fault) for fault in AgeFault}

    def _declare_batch_metrics(self) -> None:
        self._batch_size = Histogram(
            "shelver_batch_size",
            "Events in a micro-batch.",
            buckets=BATCH_SIZE_BUCKETS,
            registry=self.registry,
        )
        stage_seconds = Histogram(
            "shelver_stage_seconds",
            "Time of one batch in one step.",
            ("stage",),
            buckets=STAGE_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._stage_seconds = {step: stage_seconds.labels(step) for step in PipelineStep}
        retries = self._counter("retries", "Repeated attempts after a passing fault, by step.", "stage")
        self._retries = {step: retries.labels(step) for step in PipelineStep}
        self._queue_records = self._gauge("queue_records", "Records fetched and waiting for a batch.")
        self._queue_bytes = self._gauge("queue_bytes", "Bytes of the records waiting for a batch.")
        self._in_flight = self._gauge("batches_in_flight", "Batches between forming and acknowledgement.")
        self._lag = self._gauge("consumer_lag_records", "Records not dealt with in this worker's partitions.")
        self._stalled = self._gauge("partitions_stalled", "Partitions with records and without progress.")
        commits = self._counter("commits", "Offset commits, by how they ended.", "outcome")
        self._commits = {outcome: commits.labels(outcome) for outcome in CommitOutcome}

    def _declare_process_metrics(self) -> None:
        self._loop_lag = self._gauge(
            "event_loop_lag_seconds", "Most that the event loop was late in the last minute."
        )
        self._model = Info("shelver_model", "The model version that scores.", registry=self.registry)
        self._model.info({"name": "", "version": ""})
        self._model_loaded_at = self._gauge("model_loaded_timestamp_seconds", "When that version was loaded.")
        build = Info("shelver_build", "The running release.", registry=self.registry)
        build.info({"version": distribution_version("shelver"), "python": platform.python_version()})
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"shelver_{name}", description, labels, registry=self.registry)

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(f"shelver_{name}", description, registry=self.registry)
