"""Brokers that go away and come back, topics that vanish."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import ClusterNode, free_port, new_cluster_id
from tests.e2e.faults.scene import Scene, Stage


@asynccontextmanager
async def broker_of_its_own(name: str, stage: Stage) -> AsyncIterator[tuple[Scene, list[EmbeddedBroker]]]:
    """A Kafka that the fault may stop."""
    broker = EmbeddedBroker(port=free_port())
    try:
        async with Scene(name, stage, broker.bootstrap) as scene:
            yield scene, [broker]
    finally:
        await asyncio.to_thread(broker.close)


@asynccontextmanager
async def three_brokers(name: str, stage: Stage) -> AsyncIterator[tuple[Scene, list[EmbeddedBroker]]]:
    """A cluster with three replicas of everything, of which two have to be in sync."""
    cluster_id, ports = new_cluster_id(), tuple(free_port() for _ in range(3))
    brokers = [
        EmbeddedBroker(port=free_port(), node=ClusterNode(cluster_id, ports, number)) for number in (1, 2, 3)
    ]
    bootstrap = ",".join(broker.bootstrap for broker in brokers)
    async with AsyncExitStack() as stack:
        for broker in brokers:
            stack.push_async_callback(asyncio.to_thread, broker.close)
        scene = await stack.enter_async_context(Scene(name, stage, bootstrap, replication=3))
        await asyncio.gather(*(asyncio.to_thread(broker.start) for broker in brokers))
        yield scene, brokers


async def before_the_broker(scene: Scene, brokers: list[EmbeddedBroker]) -> None:
    scene.start_worker()
    await asyncio.sleep(3)
    await asyncio.to_thread(brokers[0].start)
    await scene.topic_exists(scene.topics.listed)
    scene.flow()


async def restarted(scene: Scene, brokers: list[EmbeddedBroker]) -> None:
    """Killed as by a power cut, and started again 10 s later."""
    await _started(scene, brokers)
    await asyncio.to_thread(brokers[0].kill)
    await asyncio.sleep(10)
    await asyncio.to_thread(brokers[0].start)


async def frozen_20_s(scene: Scene, brokers: list[EmbeddedBroker]) -> None:
    await _frozen(scene, brokers, seconds=20)


async def frozen_90_s(scene: Scene, brokers: list[EmbeddedBroker]) -> None:
    """Longer than the worker waits: it ends, unacknowledged, and is replaced."""
    await _frozen(scene, brokers, seconds=90)


async def one_of_three_stops(scene: Scene, brokers: list[EmbeddedBroker]) -> None:
    """The brokers left go on without it; it comes back and catches up."""
    await _started(scene, [])
    await asyncio.to_thread(brokers[1].kill)
    await scene.until(0.7)
    await asyncio.to_thread(brokers[1].start)


async def output_topic_deleted(scene: Scene) -> None:
    """Results of the second half find no topic: the worker ends, and the next one makes it anew."""
    await scene.create_topics()
    await _guarded_worker(scene, publish_timeout_seconds=15)
    scene.flow(0.0, 0.5)
    await scene.keep_outputs(0.5)
    await scene.delete_topic(scene.topics.assigned)
    scene.flow(0.5, 1.0)
    await scene.topic_exists(scene.topics.assigned)


async def input_topic_recreated(scene: Scene) -> None:
    """Everything in it has been read; its offsets begin again at 0, and soon pass those of before."""
    await scene.create_topics()
    await _guarded_worker(scene)
    scene.flow(0.0, 0.3)
    await scene.until(0.3)
    await scene.delete_topic(scene.topics.listed)
    await scene.create_topics(scene.topics.listed)
    scene.flow(0.3, 1.0)


async def many_at_once(scene: Scene, brokers: list[EmbeddedBroker]) -> None:
    """A broker restarts, workers die, freeze, stop and join, one upon the other."""
    await asyncio.to_thread(brokers[0].start)
    await scene.create_topics()
    first, second = scene.start_worker(), scene.start_worker()
    await asyncio.gather(first.ready(), second.ready())
    scene.flow()
    await scene.until(0.1)
    third = scene.start_worker()
    await asyncio.to_thread(brokers[0].kill)
    await asyncio.sleep(2)
    await asyncio.to_thread(brokers[0].start)
    await first.stop(signal.SIGKILL)
    await third.ready()
    await second.stop()
    scene.guard(third)
    scene.guard(scene.start_worker(fault="producer_fenced"))


async def _guarded_worker(scene: Scene, **settings: float) -> None:
    worker = scene.start_worker(fault=None, **settings)
    await worker.ready()
    scene.guard(worker)


async def _started(scene: Scene, brokers: list[EmbeddedBroker]) -> None:
    for broker in brokers:
        await asyncio.to_thread(broker.start)
    await scene.create_topics()
    await _guarded_worker(scene)
    scene.flow()
    await scene.until(0.2)


async def _frozen(scene: Scene, brokers: list[EmbeddedBroker], *, seconds: float) -> None:
    await _started(scene, brokers)
    brokers[0].freeze()
    await asyncio.sleep(seconds)
    brokers[0].thaw()
