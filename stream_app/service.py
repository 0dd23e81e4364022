"""The parts of the running service: built in one place, started in one order, stopped in the reverse one."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import cache, partial
from typing import Any

from models.repository import ModelLocation, ModelRepository, ModelSpec
from models.runtime import Classifier
from stream_app.acknowledgement import OffsetLedger
from stream_app.batching import Fetched
from stream_app.broker_questions import BrokerQuestions
from stream_app.codecs import require_codecs
from stream_app.correction_lane import BATCHES as CORRECTIONS
from stream_app.correction_lane import CorrectionLane
from stream_app.drift import DriftWatch
from stream_app.explanation_lane import ExplanationLane
from stream_app.fetching import Flow, GroupMember, WholeFetchApp, assigned_partitions, group_is_joined
from stream_app.garbage import spare_what_is_loaded
from stream_app.gpu_watch import open_gpu, watch_gpu
from stream_app.health import HealthReport, HealthServer
from stream_app.image_fetching import ImageFetcher
from stream_app.inference import Inference, LoadedVersion
from stream_app.lanes import Lane
from stream_app.loop_watch import LoopWatch
from stream_app.metric_labels import ModelRole, PipelineStep
from stream_app.metrics import ServiceMetrics
from stream_app.pipeline import Collaborators, ListingLane
from stream_app.progress_watch import ProgressWatch
from stream_app.publishing import Publisher
from stream_app.recent_listings import RecentListings
from stream_app.record_batches import read_any_batch
from stream_app.reloading import ModelFollower, ModelSource
from stream_app.settings import Settings
from stream_app.shadowing import Shadow
from stream_app.topics import ensure_topics, worker_needs
from stream_app.tracing import build_tracing

logger = logging.getLogger(__name__)


class Service:
    """Everything beside Faust's own services that a worker runs.

    Args:
        settings: all of them.
        app: the Faust app; the service hooks itself into its start and stop.
        brokers: aiokafka arguments, the same that the app was given.
    """

    def __init__(self, settings: Settings, app: WholeFetchApp, brokers: Mapping[str, Any]) -> None:
        self.settings = settings
        self._brokers = brokers
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
        self._progress: ProgressWatch | None = None
        self._followers: dict[ModelRole, ModelFollower] = {}
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
            schemas.errors.ShelverError: a codec, a port, a model, a topic or the brokers cannot be had.
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
        """Whether the process can go on: nothing has died, and nothing stands still."""
        faults = [] if self._progress is None else list(self._progress.faults)
        died = self._app.crashed or any(task.done() for task in self._running)
        return HealthReport(not (faults or died), {"stands_still": faults, "part_died": died})

    def readiness(self) -> HealthReport:
        """Whether records flow or could: model warm, topics there, group joined, not stopping."""
        alive = self._progress is not None and not any(task.done() for task in self._running)
        joined = group_is_joined(self._app)
        missing = [] if self._progress is None else list(self._progress.missing_topics)
        detail: dict[str, Any] = {
            "model": self._model_detail(ModelRole.SERVING),
            "model_refused": self._refusal(ModelRole.SERVING),
            "shadow": self._model_detail(ModelRole.SHADOW),
            "shadow_refused": self._refusal(ModelRole.SHADOW),
            "group_joined": joined,
            "topics_missing": missing,
            "stopping": self._app.should_stop,
            "partitions": sorted(f"{topic}-{number}" for topic, number in assigned_partitions(self._app)),
        }
        return HealthReport(alive and joined and not missing and not self._app.should_stop, detail)

    async def _start_parts(self) -> None:
        owned, settings = self._owned, self.settings
        require_codecs()
        read_any_batch(settings.max_unpacked_bytes)
        tracing = build_tracing(
            settings,
            group=settings.group,
            max_batch=max(settings.max_batch, settings.explain_max_batch, CORRECTIONS.max_batch),
        )
        owned.push_async_callback(tracing.stop)
        health = HealthServer(
            settings,
            liveness=self.liveness,
            readiness=self.readiness,
            exposition=self.metrics.exposition,
        )
        await health.start()
        owned.push_async_callback(health.stop)
        watch = LoopWatch(settings.loop_stall_seconds, on_lag=self.metrics.loop_lag)
        watch.start()
        owned.callback(watch.stop)
        self._run("loop watch", watch.run())
        inference = await self._load_model()
        shadow = self._start_shadow()
        self.metrics.batch_limit(settings.max_batch)
        await self._watch_gpu(inference.serving.classifier)
        pictures = await owned.enter_async_context(
            ImageFetcher(settings, on_lookup=self.metrics.picture_looked_up)
        )
        publisher = await self._connect()
        drift = DriftWatch(settings.drift_window_events)
        self.metrics.watch_drift(drift.psi, lambda: drift.num_events)
        parts = Collaborators(
            self._app.flow.ledger,
            inference,
            publisher,
            pictures,
            self.metrics,
            drift,
            shadow.offer,
            tracing,
        )
        on_room = self._app.flow.room_changed.set
        listings = RecentListings(
            settings.category_assigned_topic,
            settings.explain_recent_listings,
            self._brokers,
            partitions_of=publisher.partitions_of,
        )
        owned.push_async_callback(listings.stop)
        self._start_lane(settings.product_listed_topic, ListingLane(settings, parts, on_room=on_room))
        self._start_lane(
            settings.explanation_requested_topic, ExplanationLane(settings, parts, listings, on_room=on_room)
        )
        self._start_lane(
            settings.category_corrected_topic, CorrectionLane(settings, parts, listings, on_room=on_room)
        )
        self._watch_progress()
        owned.enter_context(spare_what_is_loaded())

    def _resolving(self, name: str) -> Callable[[], ModelLocation]:
        """Look a name up in the repository, again and again; a version that was seen costs nothing more."""
        settings = self.settings
        # Made where it blocks nobody: some stores connect at once.
        repository = cache(
            partial(ModelRepository, settings.model_repository, cache_dir=settings.model_cache)
        )
        return lambda: repository().resolve(name)

    async def _load_model(self) -> Inference:
        """Load what is to serve; from now on, follow what its name means."""
        settings, metrics = self.settings, self.metrics
        source = ModelSource(
            settings.model,
            self._resolving(settings.model),
            partial(
                LoadedVersion.load,
                settings=settings,
                max_batch=settings.max_batch,
                on_retry=partial(metrics.retried, PipelineStep.INFERENCE),
                on_lookup=metrics.evidence_looked_up,
            ),
        )
        inference = Inference(await asyncio.to_thread(lambda: source.load(source.resolve())))
        self._owned.callback(inference.stop)

        def serve(version: LoadedVersion) -> None:
            inference.serving = version
            loaded = version.classifier
            metrics.model_loaded(loaded.name, loaded.version, loaded.labels.codes)

        serve(inference.serving)
        follower = ModelFollower(
            source,
            take=serve,
            told=metrics.reloads[ModelRole.SERVING],
            interval_seconds=settings.model_reload_seconds,
            serving=str(inference.serving),
        )
        self._follow(ModelRole.SERVING, follower)
        return inference

    def _start_shadow(self) -> Shadow:
        """Compare the challenger, once it is loaded, with what serves."""
        settings = self.settings
        shadow = Shadow(settings, self.metrics)
        self._owned.callback(shadow.stop)
        if settings.shadow_model is None:
            return shadow
        ModelSpec.parse(settings.shadow_model)
        self._run("shadow", shadow.run())
        alone = settings.model_copy(update={"cascade": False, "evidence_cache_bytes": 0})
        source = ModelSource(
            settings.shadow_model,
            self._resolving(settings.shadow_model),
            partial(LoadedVersion.load, settings=alone, max_batch=settings.max_batch),
        )
        follower = ModelFollower(
            source,
            take=shadow.take,
            told=self.metrics.reloads[ModelRole.SHADOW],
            interval_seconds=settings.model_reload_seconds,
        )
        self._follow(ModelRole.SHADOW, follower)
        return shadow

    def _follow(self, role: ModelRole, follower: ModelFollower) -> None:
        self._followers[role] = follower
        self._run(f"follower of the {role} model", follower.run())

    async def _connect(self) -> Publisher:
        settings = self.settings
        needs = worker_needs(
            settings, settings.group, searches_categories=settings.explain_recent_listings > 0
        )
        await ensure_topics(settings, self._brokers, needs)
        publisher = Publisher(settings, self._brokers)
        self._owned.push_async_callback(publisher.stop)
        await publisher.start()
        return publisher

    def _start_lane(self, topic: str, lane: Lane) -> None:
        self._lanes[topic] = self._app.flow.intakes[topic] = lane
        self._owned.callback(lane.close)
        self._run(f"lane of {topic}", lane.run())

    def _watch_progress(self) -> None:
        questions = BrokerQuestions(self._brokers)
        self._owned.push_async_callback(questions.stop)
        self._progress = ProgressWatch(
            self.settings,
            self._app.flow,
            self._lanes,
            member=GroupMember(self._app),
            questions=questions,
            metrics=self.metrics,
        )
        self._run("watch on progress", self._progress.run())

    async def _watch_gpu(self, classifier: Classifier) -> None:
        gpu = await asyncio.to_thread(open_gpu, classifier.device)
        if gpu is not None:
            self._run("watch on the GPU", watch_gpu(gpu, on_reading=self.metrics.gpu))
        elif classifier.device.type == "cuda":
            self.metrics.gpu(math.nan, math.nan, math.nan)

    def _run(self, name: str, part: Coroutine[Any, Any, None]) -> None:
        running = asyncio.create_task(part, name=name)
        running.add_done_callback(self._part_ended)
        self._running.append(running)
        self._owned.push_async_callback(_cancel, running)

    def _part_ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            logger.error("the %s died: %s", running.get_name(), error)
            self._crashing = asyncio.ensure_future(self._app.crash(error))

    def _count_commit(self, committed: bool) -> None:
        if committed:
            self.metrics.committed()
        else:
            self.metrics.commit_failed()

    def _model_detail(self, role: ModelRole) -> Mapping[str, str] | None:
        follower = self._followers.get(role)
        if follower is None or follower.serving is None:
            return None
        name, _, version = follower.serving.partition("@")
        return {"name": name, "version": version}

    def _refusal(self, role: ModelRole) -> Mapping[str, str] | None:
        follower = self._followers.get(role)
        return None if follower is None or follower.refusal is None else asdict(follower.refusal)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
