"""The parts of the running service: built in one place, started in one order, stopped in the reverse one."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from stream_app.acknowledgement import OffsetLedger
from stream_app.batching import Fetched
from stream_app.fetching import Flow, WholeFetchApp, assigned_partitions, connection, group_is_joined
from stream_app.health import HealthReport, HealthServer
from stream_app.image_fetching import ImageFetcher
from stream_app.inference import Inference
from stream_app.metrics import ServiceMetrics
from stream_app.pipeline import Collaborators, ListingLane
from stream_app.publishing import Publisher
from stream_app.settings import Settings
from stream_app.topics import ensure_topics

logger = logging.getLogger(__name__)


class Service:
    """Everything beside Faust's own services that a worker runs.

    Args:
        settings: all of them.
        app: the Faust app; the service hooks itself into its start and stop.
    """

    def __init__(self, settings: Settings, app: WholeFetchApp) -> None:
        self.settings = settings
        self.metrics = ServiceMetrics()
        self._app = app
        self._app.flow = Flow(OffsetLedger(), on_commit=self._count_commit)
        self._app.before_start = self.start
        self._app.after_stop = self.stop
        self._lane: ListingLane | None = None
        self._inference: Inference | None = None
        self._running: asyncio.Task[None] | None = None
        self._owned = AsyncExitStack()

    def add(self, fetched: Fetched) -> None:
        """Take what the agent of the listings receives."""
        if self._lane is not None:
            self._lane.add(fetched)

    async def start(self) -> None:
        """Serve health, load the model, make sure of the topics, connect; records are taken from then on.

        Raises:
            schemas.errors.ShelverError: a port, a model version, a topic or the brokers cannot be had.
        """
        try:
            await self._start_parts()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything in the reverse order; calling it twice does no harm."""
        await self._owned.aclose()

    def liveness(self) -> HealthReport:
        """Whether the process can go on: nothing has died, and no batch hangs."""
        hangs = self._lane is not None and self._lane.seconds_in_flight > self.settings.hang_seconds
        died = self._app.crashed or (self._running is not None and self._running.done())
        return HealthReport(not (hangs or died), {"batch_hangs": hangs, "part_died": died})

    def readiness(self) -> HealthReport:
        """Whether records flow or could: model warm, topics there, group joined, not stopping."""
        alive = self._running is not None and not self._running.done()
        joined = group_is_joined(self._app)
        detail: dict[str, Any] = {
            "model": self._model_detail(),
            "group_joined": joined,
            "stopping": self._app.should_stop,
            "partitions": sorted(f"{topic}-{number}" for topic, number in assigned_partitions(self._app)),
        }
        return HealthReport(alive and joined and not self._app.should_stop, detail)

    async def _start_parts(self) -> None:
        owned, settings = self._owned, self.settings
        health = HealthServer(
            settings,
            liveness=self.liveness,
            readiness=self.readiness,
            exposition=self.metrics.exposition,
        )
        await health.start()
        owned.push_async_callback(health.stop)
        self._inference = await asyncio.to_thread(Inference.load, settings, max_batch=settings.max_batch)
        owned.callback(self._inference.stop)
        self.metrics.model_loaded(self._inference.classifier.name, self._inference.classifier.version)
        pictures = await owned.enter_async_context(ImageFetcher(settings))
        publisher = await self._connect()
        await self._start_lane(
            Collaborators(self._app.flow.ledger, self._inference, publisher, pictures, self.metrics)
        )

    async def _connect(self) -> Publisher:
        brokers = connection(self._app)
        await ensure_topics(self.settings, brokers)
        publisher = Publisher(self.settings, brokers)
        self._owned.push_async_callback(publisher.stop)
        await publisher.start()
        return publisher

    async def _start_lane(self, parts: Collaborators) -> None:
        flow = self._app.flow
        self._lane = ListingLane(self.settings, parts, on_room=flow.room_changed.set)
        self._owned.callback(self._lane.close)
        flow.intakes[self.settings.product_listed_topic] = self._lane
        self._running = asyncio.create_task(self._lane.run(), name="listing lane")
        self._running.add_done_callback(self._lane_ended)
        self._owned.push_async_callback(_cancel, self._running)

    def _lane_ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            logger.error("the lane of listings died: %s", error)
            self._crashing = asyncio.ensure_future(self._app.crash(error))

    def _count_commit(self, committed: bool) -> None:
        if committed:
            self.metrics.committed()
        else:
            self.metrics.commit_failed()

    def _model_detail(self) -> Mapping[str, str] | None:
        if self._inference is None:
            return None
        return {"name": self._inference.classifier.name, "version": self._inference.classifier.version}


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
