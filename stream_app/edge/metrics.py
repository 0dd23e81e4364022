"""Every metric of the gateway. Labels hold templates of routes, methods, statuses and enums, never an id."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version as distribution_version
from typing import Final

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

from stream_app.metric_collectors import WithoutCreationTimes
from stream_app.metrics import OPENMETRICS

__all__ = ["OTHER", "EdgeMetrics", "Rejection"]

OTHER: Final = "other"
"""Stands for paths that are no route and methods that HTTP does not know."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Rejection(StrEnum):
    """Why a request was turned away."""

    MALFORMED = "malformed"
    KEY = "key"
    ROLE = "role"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    MEDIA_TYPE = "media_type"
    INVALID = "invalid"
    RATE = "rate"
    UNAVAILABLE = "unavailable"

    @classmethod
    def of(cls, status: int) -> Rejection | None:
        """The reason that a status stands for; None where there is none."""
        return _BY_STATUS.get(status)


_BY_STATUS: Final = {
    400: Rejection.MALFORMED,
    401: Rejection.KEY,
    403: Rejection.ROLE,
    409: Rejection.CONFLICT,
    413: Rejection.TOO_LARGE,
    415: Rejection.MEDIA_TYPE,
    422: Rejection.INVALID,
    429: Rejection.RATE,
    503: Rejection.UNAVAILABLE,
}


class EdgeMetrics:
    """What one gateway counts, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "shelver_gateway_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "shelver_gateway_request_seconds",
            "From the first byte of a request to the last of its answer; event streams are left out.",
            ("route", "method"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        rejected = Counter(
            "shelver_gateway_rejections", "Requests turned away, by reason.", ("reason",), registry=registry
        )
        self._rejected = {reason: rejected.labels(reason) for reason in Rejection}
        self._faults = Counter(
            "shelver_gateway_faults", "Requests that a fault of the gateway ended.", registry=registry
        )
        self._sent = Counter(
            "shelver_gateway_records_sent", "Records that the brokers have confirmed.", registry=registry
        )
        self._read = Counter(
            "shelver_gateway_results_read", "Records read from the topics of results.", registry=registry
        )
        for collect in (ProcessCollector, PlatformCollector, GCCollector):
            collect(registry=registry)
        Info("shelver", "The release that runs.", registry=registry).info(
            {"version": distribution_version("shelver")}
        )

    def watch(
        self,
        *,
        in_flight: Callable[[], int],
        waiting: Callable[[], int],
        results: Callable[[], int],
        results_bytes: Callable[[], int],
        results_limit_bytes: Callable[[], int],
        connected: Callable[[], bool],
    ) -> None:
        """Take the gauges from what is there when they are read.

        Args:
            in_flight: requests that are being answered.
            waiting: results that are waited for.
            results: that are kept.
            results_bytes: what these take.
            results_limit_bytes: what these may take.
            connected: whether records are taken.
        """
        gauges: dict[str, tuple[str, Callable[[], int]]] = {
            "requests_in_flight": ("Requests that are being answered.", in_flight),
            "waiters": ("Results that are waited for.", waiting),
            "results": ("Results that are kept.", results),
            "results_bytes": ("Bytes of the results that are kept.", results_bytes),
            "results_limit_bytes": ("Most bytes of results that are kept.", results_limit_bytes),
            "connected": ("1 while the brokers take records, else 0.", connected),
        }
        for name, (description, value) in gauges.items():
            Gauge(f"shelver_gateway_{name}", description, registry=self._registry).set_function(value)

    def answered(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """Count an answer.

        Args:
            route: its template.
            method: of HTTP.
            status: of HTTP.
            seconds: it took; None for an event stream.
        """
        shown = method if method in METHODS else OTHER
        self._requests.labels(route, shown, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route, shown).observe(seconds)
        reason = Rejection.of(status)
        if reason is not None:
            self._rejected[reason].inc()

    def failed(self) -> None:
        """Count a request that a fault of the gateway ended: no answer but 500, or one that broke off."""
        self._faults.inc()

    def sent(self, num_records: int) -> None:
        """Count records that the brokers have confirmed."""
        self._sent.inc(num_records)

    def read(self) -> None:
        """Count a record of a topic of results."""
        self._read.inc()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics in the format that a scraper asks for, and its content type."""
        encode, content_type = choose_encoder(OPENMETRICS if "openmetrics" in accept.lower() else "")
        return encode(WithoutCreationTimes(self._registry)), content_type
