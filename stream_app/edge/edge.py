"""Everything that one gateway holds, and its connection to Kafka while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from stream_app.batching import Record
from stream_app.brokers import connection
from stream_app.edge.following import Follower
from stream_app.edge.keys import load_keys
from stream_app.edge.limits import Bodies, Places, RateLimits
from stream_app.edge.listings import Listings
from stream_app.edge.live import Live
from stream_app.edge.metrics import EdgeMetrics
from stream_app.edge.model_view import ModelView
from stream_app.edge.reading import read_arrival
from stream_app.edge.results import Results
from stream_app.edge.sending import Sender
from stream_app.edge.submitting import Submissions
from stream_app.edge.tracing import build_request_tracing
from stream_app.edge.training_options import quoted
from stream_app.edge.training_runs import TrainingRuns
from stream_app.health import HealthReport
from stream_app.settings import EdgeSettings
from stream_app.shop_pages.reading import ShopPages
from stream_app.topics import ensure_topics, gateway_needs

__all__ = ["Edge"]

logger = logging.getLogger(__name__)

EVENT_SOURCE: Final = "/shelver/gateway"


class Edge:
    """The parts of a gateway; built without a connection, which `running` makes.

    Args:
        settings: of the gateway.
        on_fatal: called when the gateway cannot go on, with the reason.

    Raises:
        SettingsError: keys or credentials cannot be used, there are no keys where they are needed, or spans
            are asked for without OpenTelemetry.
        RepositoryError: the URL of the model repository is not known.
    """

    def __init__(
        self, settings: EdgeSettings, *, on_fatal: Callable[[BaseException], None] = lambda _: None
    ) -> None:
        self.settings = settings
        self.keys = load_keys(settings)
        self.metrics = EdgeMetrics()
        self.tracing = build_request_tracing(settings)
        self.rates = RateLimits(settings.gateway_requests_per_second, settings.gateway_burst)
        self.places = Places(settings.gateway_max_requests)
        self.bodies = Bodies(settings.gateway_max_body_bytes, settings.gateway_max_buffered_bytes)
        self.results = Results(settings.gateway_results_bytes)
        self._connection = connection(settings)
        self.sender = Sender(
            settings.broker,
            self._connection,
            (
                settings.product_listed_topic,
                settings.explanation_requested_topic,
                settings.category_corrected_topic,
            ),
            confirm_seconds=settings.gateway_confirm_seconds,
            on_sent=self.metrics.sent,
        )
        self.submissions = Submissions(self.sender, self.results)
        self.live = Live()
        self.models = ModelView(settings)
        self.shop_pages = ShopPages(settings)
        self.trainings = TrainingRuns(
            Path(settings.gateway_training_dir),
            settings.gateway_catalogues,
            (
                *settings.gateway_training_overrides,
                *quoted("repository", settings.model_repository),
                *quoted("model_cache", settings.model_cache),
            ),
        )
        self.listings = Listings(
            settings, self._connection, self.results, partitions_of=self.sender.partitions_of
        )
        self._follower = Follower(
            self._connection,
            (settings.category_assigned_topic, settings.category_explained_topic, settings.dead_letter_topic),
            num_past=settings.gateway_history_records,
            on_record=self._take,
        )
        self._on_fatal = on_fatal
        self.stopping = asyncio.Event()
        self._watch()

    def readiness(self) -> HealthReport:
        """Whether records are taken and results are followed."""
        detail: dict[str, Any] = {
            "brokers": self.sender.is_connected,
            "results": self._follower.has_caught_up,
        }
        return HealthReport(healthy=all(detail.values()) and not self.stopping.is_set(), detail=detail)

    def stop(self) -> None:
        """Have everybody answered with what there is, so that a server can stop soon."""
        self.stopping.set()
        self.results.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connected for the length of an `async with` block, or trying to be."""
        link = asyncio.create_task(self._link())
        link.add_done_callback(self._linked)
        try:
            async with self.shop_pages:
                yield
        finally:
            self.stop()
            link.cancel()
            await asyncio.wait({link})
            await self.listings.stop()
            await self.trainings.stop()
            await self.tracing.stop()

    async def _link(self) -> None:
        settings = self.settings
        await ensure_topics(settings, self._connection, gateway_needs(settings))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sender.run())
            tasks.create_task(self._follower.run())

    def _linked(self, link: asyncio.Task[None]) -> None:
        error = None if link.cancelled() else link.exception()
        if error is not None:
            self._on_fatal(_first(error))

    def _take(self, record: Record) -> None:
        self.metrics.read()
        arrival = read_arrival(record, self.settings)
        if arrival is None:
            return
        if arrival.subject is not None:
            self.results.put(arrival.subject, arrival.result)
            self.submissions.answered(arrival.subject)
        self.live.take(arrival, is_past=not self._follower.has_caught_up)

    def _watch(self) -> None:
        self.metrics.watch(
            in_flight=lambda: self.places.num_taken,
            waiting=lambda: self.results.num_waiting,
            results=lambda: len(self.results),
            results_bytes=lambda: self.results.num_bytes,
            results_limit_bytes=lambda: self.settings.gateway_results_bytes,
            connected=lambda: self.sender.is_connected,
        )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
