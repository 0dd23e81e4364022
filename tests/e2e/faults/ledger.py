"""The table of faults, and how they are run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from stream_app.broker import EmbeddedBroker
from tests.e2e.faults import inner_faults, kafka_faults, worker_faults
from tests.e2e.faults.row import Row
from tests.e2e.faults.scene import Scene, Stage

OnSharedKafka = Callable[[Scene], Awaitable[None]]
OnOwnKafka = Callable[[Scene, list[EmbeddedBroker]], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One line of the table.

    Attributes:
        name: as users type it.
        what: what happens, in a few words.
        on_shared: runs on a Kafka that other faults use too.
        on_own: runs on a Kafka that it may stop.
        num_brokers: of the own one.
        is_long: left out of the short form.
    """

    name: str
    what: str
    on_shared: OnSharedKafka | None = None
    on_own: OnOwnKafka | None = None
    num_brokers: int = 1
    is_long: bool = False


FAULTS: tuple[Fault, ...] = (
    Fault("sigkill", "a worker is killed, another starts", worker_faults.sigkill),
    Fault("sigterm", "a worker is stopped, another starts", worker_faults.sigterm),
    Fault("joins", "a second worker joins", worker_faults.joins),
    Fault("leaves", "one of two workers stops", worker_faults.leaves),
    Fault(
        "standby", "2 workers, 1 partition; its owner is killed", worker_faults.more_workers_than_partitions
    ),
    Fault("frozen-worker", "one of two workers halts for twice its session", worker_faults.frozen),
    Fault("before-topic", "a worker starts before its topics exist", worker_faults.before_its_topic),
    Fault("slow-pictures", "picture servers never answer", worker_faults.slow_picture_hosts),
    Fault("model-raises", "the model fails now and then", inner_faults.model_raises),
    Fault("model-hangs", "the model never answers", inner_faults.model_hangs),
    Fault("device-lost", "CUDA device-side assert", inner_faults.device_lost),
    Fault("out-of-memory", "batches above 8 do not fit", inner_faults.out_of_memory),
    Fault("fenced", "the producer is fenced", inner_faults.producer_fenced),
    Fault("out-of-sequence", "the producer is out of sequence", inner_faults.out_of_sequence),
    Fault("disk-full", "no file can be written", inner_faults.disk_full),
    Fault("output-deleted", "the output topic is deleted", kafka_faults.output_topic_deleted),
    Fault("input-recreated", "the input topic is deleted and made anew", kafka_faults.input_topic_recreated),
    Fault("before-broker", "a worker starts before the broker", on_own=kafka_faults.before_the_broker),
    Fault("broker-restarts", "the broker is killed, back after 10 s", on_own=kafka_faults.restarted),
    Fault("broker-frozen", "the broker halts for 20 s", on_own=kafka_faults.frozen_20_s),
    Fault("broker-frozen-90", "the broker halts for 90 s", on_own=kafka_faults.frozen_90_s, is_long=True),
    Fault(
        "one-of-three", "one of 3 brokers is killed", on_own=kafka_faults.one_of_three_stops, num_brokers=3
    ),
    Fault("mixed", "broker and workers, one upon the other", on_own=kafka_faults.many_at_once),
)


async def run_fault(fault: Fault, stage: Stage, bootstrap: str) -> Row:
    """Run one fault; ``bootstrap`` is the shared Kafka."""
    if fault.on_shared is not None:
        async with Scene(fault.name, stage, bootstrap) as scene:
            await fault.on_shared(scene)
            return await scene.row()
    assert fault.on_own is not None
    own = kafka_faults.broker_of_its_own if fault.num_brokers == 1 else kafka_faults.three_brokers
    async with own(fault.name, stage) as (scene, brokers):
        await fault.on_own(scene, brokers)
        return await scene.row()


async def run_faults(faults: Sequence[Fault], stage: Stage, *, num_at_once: int = 1) -> AsyncIterator[Row]:
    """Run faults, a few at once, and give the rows as they are done."""
    slots = asyncio.Semaphore(num_at_once)

    async def run(fault: Fault) -> Row:
        async with slots:
            return await run_fault(fault, stage, broker.bootstrap)

    with EmbeddedBroker() as broker:
        async with asyncio.TaskGroup() as group:
            for done in asyncio.as_completed([group.create_task(run(fault)) for fault in faults]):
                yield await done
