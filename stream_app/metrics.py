"""Every metric of the service: declared here, recorded in the domain's words, exposed as text.

Together with `metric_collectors` the only module that knows prometheus_client. Labels hold values of enums,
the loaded model's name, version and categories, and numbers of assigned partitions, never an id, a URL, a
topic or an exception's text, so traffic does not add series.
Each `ServiceMetrics` has a registry of its own: two services in one process do not collide.
One class, long for its many short methods: what a worker exposes is read in one place.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version as distribution_version
from typing import Any

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

from models.errors import ImageReason
from models.evidence_cache import EvidenceLookup, Modality
from models.snapshot import Feature
from schemas.dead_letters import Reason, Stage
from stream_app.corrections import CorrectionOutcome
from stream_app.image_cache import ImageLookup
from stream_app.metric_collectors import (
    BulkHistogram,
    CategoryCounter,
    CategoryRatios,
    LaneLags,
    WithoutCreationTimes,
)
from stream_app.metric_labels import (
    PICTURE_SKIPPED,
    PICTURE_USED,
    AgeFault,
    CommitOutcome,
    GpuMemory,
    LaneKind,
    ModelRole,
    PipelineStep,
    RecordKind,
    ReloadOutcome,
    ShadowOutcome,
)

SECONDS_PER_DAY = 86_400.0
STAGE_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LATENCY_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
CONFIDENCE_DIFFERENCE_BUCKETS = (-0.5, -0.2, -0.1, -0.05, -0.01, 0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_OPENMETRICS_TYPE = "application/openmetrics-text"
OPENMETRICS = f"{_OPENMETRICS_TYPE};version=1.0.0"
"""What prometheus_client is asked for: it fails on some versions that a scraper may send."""


class ExplanationGauges:
    """Where the lane of explanations shows what it holds."""

    def __init__(
        self,
        gauge: Callable[[str, str], Gauge],
        histogram: Callable[[str, str, Sequence[float]], BulkHistogram],
    ) -> None:
        self._records = gauge("explanation_queue_records", "Requests fetched and waiting to be explained.")
        self._bytes = gauge("explanation_queue_bytes", "Bytes of these requests.")
        self._wait = histogram(
            "explanation_queue_wait_seconds",
            "From the arrival of a request in the worker to its batch.",
            STAGE_BUCKETS_SECONDS,
        )
        self._in_flight = gauge("explanation_batches_in_flight", "Batches of requests being explained.")

    def queue_depth(self, num_records: int, num_bytes: int) -> None:
        """Set what has been fetched and waits."""
        self._records.set(num_records)
        self._bytes.set(num_bytes)

    def queue_waits(self, seconds: NDArray[np.float64]) -> None:
        """Record how long the requests of a batch have waited for it."""
        self._wait.observe_all(seconds)

    def batches_in_flight(self, num_batches: int) -> None:
        """Set how many batches are between forming and acknowledgement."""
        self._in_flight.set(num_batches)


class ReloadMetrics:
    """What becomes of versions that one role is to follow."""

    def __init__(self, reloads: Mapping[ReloadOutcome, Counter], refuses: Gauge) -> None:
        self._reloads = reloads
        self._refuses = refuses

    def swapped(self) -> None:
        """Count a version that was put in its place."""
        self._reloads[ReloadOutcome.SWAPPED].inc()

    def refused(self) -> None:
        """Count a version that was refused."""
        self._reloads[ReloadOutcome.REFUSED].inc()

    def refuses(self, *, refuses: bool) -> None:
        """Show whether what is asked for does not serve."""
        self._refuses.set(refuses)


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
        self._declare_watching_metrics()
        self._declare_model_metrics()
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

    def categorised(
        self,
        codes: Sequence[int | str],
        columns: NDArray[np.int64],
        confidences: NDArray[np.floating[Any]],
    ) -> None:
        """Count which categories a batch got, and record their probabilities.

        Args:
            codes: the categories of the version that scored it.
            columns: the position of each event's category among them, shape (N,).
            confidences: its probability, shape (N,).
        """
        self._categories.count(codes, columns)
        # A softmax in float32 may sum to a little more than 1.
        self._confidence.observe_all(np.minimum(confidences, 1.0))

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

    def queue_waits(self, seconds: NDArray[np.float64]) -> None:
        """Record how long the records of a batch have waited for it."""
        self._queue_wait.observe_all(seconds)

    def batches_in_flight(self, num_batches: int) -> None:
        """Set how many batches are between forming and acknowledgement."""
        self._in_flight.set(num_batches)

    def batch_limit(self, num_records: int) -> None:
        """Set the most events that a micro-batch may have."""
        self._batch_limit.set(num_records)

    def progress(
        self,
        lags: Mapping[tuple[LaneKind, int], int],
        ages_seconds: Mapping[LaneKind, float],
        num_stalled: int,
    ) -> None:
        """Set what is not dealt with in the partitions of this worker.

        Args:
            lags: records, by lane and partition; all partitions that are assigned and whose lag is known.
            ages_seconds: of the oldest such record of each lane; 0 for those left out.
            num_stalled: partitions that stand still.
        """
        self._lag.set(sum(lags.values()))
        self._partition_lag.set((lane, partition, lag) for (lane, partition), lag in lags.items())
        for lane, gauge in self._watermark_age.items():
            gauge.set(ages_seconds.get(lane, 0.0))
        self._stalled.set(num_stalled)

    def gpu(self, used_bytes: float, total_bytes: float, utilisation: float) -> None:
        """Set how much of the GPU is in use; NaN for what is not known.

        Args:
            used_bytes: memory in use, by other processes too.
            total_bytes: memory that it has.
            utilisation: share of the time in which it computed, 0 to 1.
        """
        self._gpu_memory[GpuMemory.USED].set(used_bytes)
        self._gpu_memory[GpuMemory.TOTAL].set(total_bytes)
        self._gpu_utilisation.set(utilisation)

    def loop_lag(self, seconds: float) -> None:
        """Set the most that the event loop was late lately."""
        self._loop_lag.set(seconds)

    def committed(self) -> None:
        """Count one offset commit that the broker confirmed."""
        self._commits[CommitOutcome.COMMITTED].inc()

    def commit_failed(self) -> None:
        """Count one offset commit that failed; its records are read again or committed later."""
        self._commits[CommitOutcome.FAILED].inc()

    def model_loaded(self, name: str, version: str, codes: Sequence[int | str] = ()) -> None:
        """Name the model version that scores from now on; it replaces the one before, in one series.

        Args:
            name: of the model.
            version: that scores.
            codes: its categories.
        """
        self._categories.follow(codes)
        self._model.info({"name": name, "version": version})
        self._model_loaded_at.set_to_current_time()

    def watch_drift(self, psi: Callable[[Feature], float], num_events: Callable[[], int]) -> None:
        """Ask for the drift of each feature, and how many events it is of, whenever somebody scrapes."""
        for feature, gauge in self._drift.items():
            gauge.set_function(partial(psi, feature))
        self._drift_events.set_function(num_events)

    def shadow_loaded(self, name: str, version: str) -> None:
        """Name the challenger that scores beside from now on."""
        self._shadow_model.info({"name": name, "version": version})

    def shadow_compared(self, num_same: int, confidence_differences: NDArray[np.float64]) -> None:
        """Count events that a challenger scored too.

        Args:
            num_same: how many of them got the same category.
            confidence_differences: shape (N,), of all of them: probability of the challenger's category less
                that of the assigned one.
        """
        self._shadow_events[ShadowOutcome.SAME].inc(num_same)
        self._shadow_events[ShadowOutcome.DIFFERENT].inc(len(confidence_differences) - num_same)
        self._shadow_difference.observe_all(confidence_differences)

    def shadow_left_out(self, outcome: ShadowOutcome, num_events: int) -> None:
        """Count events that were chosen for a challenger, but not compared."""
        self._shadow_events[outcome].inc(num_events)

    def corrected(self, outcome: CorrectionOutcome, num_corrections: int = 1) -> None:
        """Count what people say of categories."""
        self._corrections[outcome].inc(num_corrections)

    def corrected_accuracy(self, ratios: Mapping[int | str, float]) -> None:
        """Set how often people agree with each category; those that are not named have no series."""
        self._corrected_accuracy.set(ratios)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Render all metrics in the format a scraper asks for.

        Args:
            accept: the request's `Accept` header: OpenMetrics where it asks for that, else plain text.

        Returns:
            The body and its content type.
        """
        encode, content_type = choose_encoder(OPENMETRICS if _OPENMETRICS_TYPE in accept.lower() else "")
        return encode(WithoutCreationTimes(self.registry)), content_type

    def _declare_event_metrics(self) -> None:
        consumed = self._counter("records_consumed", "Records read from the listings topic.", "outcome")
        self._consumed = {kind: consumed.labels(kind) for kind in RecordKind}
        self._assigned = self._counter("assigned", "Categories published and confirmed by the broker.")
        self._categories = CategoryCounter(
            "shelver_categories_assigned", "Categories published, by category of the model that serves."
        )
        self.registry.register(self._categories)
        self._confidence = self._bulk_histogram(
            "confidence", "Probability of the assigned category.", CONFIDENCE_BUCKETS
        )
        self._explained = self._counter("explained", "Explanations published and confirmed by the broker.")
        self._explanations_shared = self._counter(
            "explanations_shared", "Of these, answered with what was computed for another request."
        )
        self._explanation_latency = self._bulk_histogram(
            "explanation_latency_seconds",
            "From the broker's timestamp of a request to its published explanation.",
            LATENCY_BUCKETS_SECONDS,
        )
        self.explanation_gauges = ExplanationGauges(self._gauge, self._bulk_histogram)
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
        self._latency = self._bulk_histogram(
            "event_latency_seconds",
            "From the broker's timestamp of a listing to its published category.",
            LATENCY_BUCKETS_SECONDS,
        )
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
        self._batch_limit = self._gauge("batch_limit_records", "Most events in a micro-batch.")
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
        self._queue_wait = self._bulk_histogram(
            "queue_wait_seconds",
            "From the arrival of a record in the worker to its batch.",
            STAGE_BUCKETS_SECONDS,
        )
        self._in_flight = self._gauge("batches_in_flight", "Batches between forming and acknowledgement.")
        self._lag = self._gauge("consumer_lag_records", "Records not dealt with in this worker's partitions.")
        self._partition_lag = LaneLags(
            "shelver_partition_lag_records", "Records not dealt with, by lane and partition of this worker."
        )
        self.registry.register(self._partition_lag)
        ages = self._gauge(
            "watermark_age_seconds", "Age of the oldest record not dealt with, by lane; 0 when none.", "lane"
        )
        self._watermark_age = {lane: ages.labels(lane) for lane in LaneKind}
        self._stalled = self._gauge("partitions_stalled", "Partitions with records and without progress.")
        commits = self._counter("commits", "Offset commits, by how they ended.", "outcome")
        self._commits = {outcome: commits.labels(outcome) for outcome in CommitOutcome}

    def _declare_watching_metrics(self) -> None:
        drift = self._gauge(
            "drift_psi",
            "Population stability index of the latest events against the rows the version was measured on, "
            "less what chance gives; NaN for fewer than 500 events.",
            "feature",
        )
        self._drift = {feature: drift.labels(feature) for feature in Feature}
        for gauge in self._drift.values():
            gauge.set(math.nan)
        self._drift_events = self._gauge("drift_events", "Events that these are of.")
        corrections = self._counter("corrections", "Corrections read, by what they say.", "outcome")
        self._corrections = {outcome: corrections.labels(outcome) for outcome in CorrectionOutcome}
        self._corrected_accuracy = CategoryRatios(
            "shelver_corrected_accuracy_ratio",
            "Share of the latest corrections of a category that confirm it.",
        )
        self.registry.register(self._corrected_accuracy)

    def _declare_model_metrics(self) -> None:
        self._model = Info("shelver_model", "The model version that scores.", registry=self.registry)
        self._model.info({"name": "", "version": ""})
        self._model_loaded_at = self._gauge("model_loaded_timestamp_seconds", "When that version was loaded.")
        reloads = self._counter(
            "model_reloads", "Versions that were to take another's place.", "role", "outcome"
        )
        refuses = self._gauge("model_refused", "1 while the version that is asked for is refused.", "role")
        self.reloads = {
            role: ReloadMetrics(
                {outcome: reloads.labels(role, outcome) for outcome in ReloadOutcome}, refuses.labels(role)
            )
            for role in ModelRole
        }
        """By what a version is loaded for."""
        self._shadow_model = Info(
            "shelver_shadow_model", "The challenger that scores beside.", registry=self.registry
        )
        self._shadow_model.info({"name": "", "version": ""})
        shadow_events = self._counter(
            "shadow_events", "Events chosen for the challenger, by what it made of them.", "outcome"
        )
        self._shadow_events = {outcome: shadow_events.labels(outcome) for outcome in ShadowOutcome}
        self._shadow_difference = self._bulk_histogram(
            "shadow_confidence_difference",
            "Probability of the challenger's category less that of the assigned one.",
            CONFIDENCE_DIFFERENCE_BUCKETS,
        )

    def _declare_process_metrics(self) -> None:
        self._loop_lag = self._gauge(
            "event_loop_lag_seconds", "Most that the event loop was late in the last minute."
        )
        gpu_memory = self._gauge(
            "gpu_memory_bytes", "Memory of the GPU that the model is on; 0 on a CPU.", "kind"
        )
        self._gpu_memory = {kind: gpu_memory.labels(kind) for kind in GpuMemory}
        self._gpu_utilisation = self._gauge(
            "gpu_utilisation_ratio", "Share of the time in which that GPU computed; 0 on a CPU."
        )
        build = Info("shelver_build", "The running release.", registry=self.registry)
        build.info({"version": distribution_version("shelver"), "python": platform.python_version()})
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"shelver_{name}", description, labels, registry=self.registry)

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(f"shelver_{name}", description, labels, registry=self.registry)

    def _bulk_histogram(self, name: str, description: str, bounds: Sequence[float]) -> BulkHistogram:
        histogram = BulkHistogram(f"shelver_{name}", description, bounds)
        self.registry.register(histogram)
        return histogram
