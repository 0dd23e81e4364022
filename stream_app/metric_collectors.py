"""Collectors that prometheus_client does not have: whole batches at once, and series that come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from stream_app.metric_labels import MAX_CATEGORIES

OTHER_CATEGORY = "other"


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


class WithoutCreationTimes(Collector):
    """A registry without its `_created` series: one for each counter, and no rule or dashboard reads them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the registry without these series."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class CategoryCounter(Collector):
    """A counter with a series for each category of the model that serves, and one for all others.

    Args:
        name: metric name, without `_total`.
        description: one sentence for the exposition.
    """

    def __init__(self, name: str, description: str) -> None:
        self._name = name
        self._description = description
        self._counts: dict[str, int] = {OTHER_CATEGORY: 0}
        self._lock = threading.Lock()

    def follow(self, codes: Iterable[int | str]) -> None:
        """Have a series for each of these categories, the first `MAX_CATEGORIES` of them.

        What was counted stays for those that had one before; of others no series is left.
        """
        followed = [*map(str, codes)][:MAX_CATEGORIES]
        with self._lock:
            self._counts = {code: self._counts.get(code, 0) for code in (*followed, OTHER_CATEGORY)}

    def count(self, codes: Sequence[int | str], columns: NDArray[np.int64]) -> None:
        """Count a batch.

        Args:
            codes: the categories of the version that scored it.
            columns: the position of each event's category among them, shape (N,).
        """
        per_column = np.bincount(columns, minlength=len(codes))
        with self._lock:
            for column in per_column.nonzero()[0].tolist():
                code = str(codes[column])
                self._counts[code if code in self._counts else OTHER_CATEGORY] += int(per_column[column])

    def collect(self) -> Iterable[Metric]:
        """Yield the counter."""
        with self._lock:
            counts = dict(self._counts)
        family = CounterMetricFamily(self._name, self._description, labels=("category",))
        for category, number in counts.items():
            family.add_metric((category,), number)
        yield family


class CategoryRatios(Collector):
    """A gauge with a series for each category that has a ratio, `MAX_CATEGORIES` at most.

    Args:
        name: full metric name.
        description: one sentence for the exposition.
    """

    def __init__(self, name: str, description: str) -> None:
        self._name = name
        self._description = description
        self._ratios: Mapping[int | str, float] = {}

    def set(self, ratios: Mapping[int | str, float]) -> None:
        """Replace all series; of more than `MAX_CATEGORIES` the first ones are shown."""
        self._ratios = dict(ratios)

    def collect(self) -> Iterable[Metric]:
        """Yield the gauge."""
        family = GaugeMetricFamily(self._name, self._description, labels=("category",))
        for category, ratio in islice(self._ratios.items(), MAX_CATEGORIES):
            family.add_metric((str(category),), ratio)
        yield family


class LaneLags(Collector):
    """A gauge with a series for each partition of a lane; those that are not in the latest lags have none.

    Args:
        name: full metric name.
        description: one sentence for the exposition.
    """

    def __init__(self, name: str, description: str) -> None:
        self._name = name
        self._description = description
        self._lags: Sequence[tuple[str, int, int]] = ()

    def set(self, lags: Iterable[tuple[str, int, int]]) -> None:
        """Replace all series: each a lane, a partition and the records of it that are not dealt with."""
        self._lags = sorted(lags)

    def collect(self) -> Iterable[Metric]:
        """Yield the gauge."""
        family = GaugeMetricFamily(self._name, self._description, labels=("lane", "partition"))
        for lane, partition, lag in self._lags:
            family.add_metric((lane, str(partition)), lag)
        yield family
