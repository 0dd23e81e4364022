"""Workers that die, stop, freeze, join and leave."""

import asyncio
import json
import signal

from tests.e2e.faults.scene import SESSION_SECONDS, Scene, freeze, thaw
from tests.integration.workers import Worker


async def sigkill(scene: Scene) -> None:
    await _replaced(scene, signal.SIGKILL)


async def sigterm(scene: Scene) -> None:
    await _replaced(scene, signal.SIGTERM)


async def _replaced(scene: Scene, number: signal.Signals) -> None:
    await scene.create_topics()
    worker = scene.start_worker()
    await worker.ready()
    scene.flow()
    await scene.until(0.2)
    await worker.stop(number)
    scene.start_worker()


async def joins(scene: Scene) -> None:
    await scene.create_topics()
    await scene.start_worker().ready()
    second = scene.start_worker()
    scene.flow()
    await second.ready()


async def leaves(scene: Scene) -> None:
    await scene.create_topics()
    first, second = scene.start_worker(), scene.start_worker()
    await asyncio.gather(first.ready(), second.ready())
    scene.flow()
    await scene.until(0.2)
    await first.stop()


async def more_workers_than_partitions(scene: Scene) -> None:
    await scene.create_topics(num_partitions=1)
    workers = [scene.start_worker() for _ in range(2)]
    await asyncio.gather(*(worker.ready() for worker in workers))
    scene.flow()
    await scene.until(0.2)
    owners = [worker for worker in workers if await _owns(worker, scene.topics.listed)]
    await owners[0].stop(signal.SIGKILL)


async def _owns(worker: Worker, topic: str) -> bool:
    _, body = await asyncio.to_thread(worker.get, "/readyz")
    return any(partition.startswith(f"{topic}-") for partition in json.loads(body)["partitions"])


async def frozen(scene: Scene) -> None:
    await scene.create_topics()
    first, second = scene.start_worker(), scene.start_worker()
    await asyncio.gather(first.ready(), second.ready())
    scene.flow()
    await scene.until(0.1)
    freeze(first)
    await asyncio.sleep(2 * SESSION_SECONDS)
    thaw(first)


async def before_its_topic(scene: Scene) -> None:
    scene.start_worker()
    await scene.topic_exists(scene.topics.listed)
    scene.flow()


async def slow_picture_hosts(scene: Scene) -> None:
    """A server that takes connections and never answers; every tenth listing has its picture there."""
    await scene.create_topics()
    connections: list[asyncio.StreamWriter] = []

    async def never_answers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    server = await asyncio.start_server(never_answers, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def image(number: int) -> object:
        return {"url": f"http://127.0.0.1:{port}/{number}.jpg"} if number % 10 == 0 else None

    worker = scene.start_worker(
        image_allow_http=True,
        image_allowed_networks='["127.0.0.0/8"]',
        image_fetch_timeout_seconds=1,
        image_host_pause_seconds=5,
    )
    await worker.ready()
    scene.flow(image=image)
    await scene.until(1.0)
    assert connections, "no picture was asked for"
    server.close()
    for writer in connections:
        writer.close()
