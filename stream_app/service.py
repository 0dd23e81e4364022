"""The parts of the running service: built in one place, started in one order, stopped in the reverse one."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from stream_app.acknowledgement import OffsetLedger
from stream_app.batching import Fetched
from stream_app.explanation_lane import ExplanationLane
from stream_app.fetching import Flow, WholeFetchApp, assigned_partitions, connection, group_is_joined
from stream_app.health import HealthReport, HealthServer
from stream_app.image_fetching import ImageFetcher
from stream_app.inference import Inference
from stream_app.lanes import Lane
from stream_app.metrics import ServiceMetrics
from stream_app.pipeline import Collaborators, ListingLane
from stream_app.publishing import Publisher
from stream_app.recent_listings import RecentListings
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
        self._app.flow = Flow(
            OffsetLedger(),
            on_commit=self._count_commit,
            max_prefetch_bytes=settings.max_prefetch_bytes,
        )
        self._app.before_start = self.start
        self._app.after_stop = self.stop
        self._lanes: dict[str, Lane] = {}
        self._inference: Inference | None = None
        self._running: list[asyncio.Task[None]] = []
        self._owned = AsyncExitStack()

    def add(self, fetched: Fetched) -> None:
        """Take what the agent of a topic receives."""
        lane = self._lanes.get(fetched.partition.topic)
        if lane is not None:
            lane.add(fetched)

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
        hangs = any(lane.seconds_in_flight > self.settings.hang_seconds for lane in self._lanes.values())
        died = self._app.crashed or any(task.done() for task in self._running)
        return HealthReport(not (hangs or died), {"batch_hangs": hangs, "part_died": died})

    def readiness(self) -> HealthReport:
        """Whether records flow or could: model warm, topics there, group joined, not stopping."""
        alive = bool(self._running) and not any(task.done() for task in self._running)
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
        parts = Collaborators(self._app.flow.ledger, self._inference, publisher, pictures, self.metrics)
        on_room = self._app.flow.room_changed.set
        listings = RecentListings(
            settings.category_assigned_topic,
            settings.explain_recent_listings,
            connection(self._app),
            partitions_of=publisher.partitions_of,
        )
        owned.push_async_callback(listings.stop)
        self._start_lane(settings.product_listed_topic, ListingLane(settings, parts, on_room=on_room))
        self._start_lane(
            settings.explanation_requested_topic, ExplanationLane(settings, parts, listings, on_room=on_room)
        )

    async def _connect(self) -> Publisher:
        brokers = connection(self._app)
        await ensure_topics(self.settings, brokers)
        publisher = Publisher(self.settings, brokers)
        self._owned.push_async_callback(publisher.stop)
        await publisher.start()
        return publisher

    def _start_lane(self, topic: str, lane: Lane) -> None:
        self._lanes[topic] = self._app.flow.intakes[topic] = lane
        self._owned.callback(lane.close)
        running = asyncio.create_task(lane.run(), name=f"lane of {topic}")
        running.add_done_callback(self._lane_ended)
        self._running.append(running)
        self._owned.push_async_callback(_cancel, running)

    def _lane_ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            logger.error("the %s died: %s", running.get_name(), error)
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
