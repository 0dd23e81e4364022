"""When a lane lets a batch go: at once while nothing is worked on, full or due otherwise."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.acknowledgement import OffsetLedger, TopicPartition
from stream_app.batching import Batch, BatchSettings, Fetched
from stream_app.errors import FatalError
from stream_app.lanes import Lane, Turn, all_of
from tests.unit.stream_app.records import PlainRecord

LONG_MS = 10_000


class Gauges:
    def __init__(self) -> None:
        self.waits: list[float] = []

    def queue_waits(self, seconds: NDArray[np.float64]) -> None:
        self.waits += seconds.tolist()

    def queue_depth(self, num_records: int, num_bytes: int) -> None:
        del num_records, num_bytes

    def batches_in_flight(self, num_batches: int) -> None:
        del num_batches


class HeldLane(Lane):
    """Works on every batch until it is let go."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, **settings: float) -> None:
        self.gauges = Gauges()
        super().__init__(
            BatchSettings.model_validate(settings),
            OffsetLedger(),
            self.gauges,
            drain_seconds=1,
            on_room=lambda: None,
            clock=clock,
        )
        self.begun: list[list[int]] = []
        self.let_go = asyncio.Semaphore(0)

    async def work(self, batch: Batch, turn: Turn) -> None:
        self.begun.append([record.offset for record in batch.records])
        await self.let_go.acquire()
        turn.is_over()

    def close(self) -> None:
        """Nothing to let go."""


def fetched(*offsets: int) -> Fetched:
    return Fetched(TopicPartition("t", 0), 1, [PlainRecord(offset=offset) for offset in offsets])


@asynccontextmanager
async def running(lane: HeldLane) -> AsyncIterator[None]:
    task = asyncio.create_task(lane.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settled(rounds: int = 20) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def test_while_nothing_is_worked_on_records_go_at_once_and_gather_behind_them() -> None:
    lane = HeldLane(max_batch=8, max_delay_ms=LONG_MS)
    async with running(lane):
        lane.add(fetched(0))
        await settled()
        lane.add(fetched(1))
        lane.add(fetched(2, 3))
        await settled()
        assert lane.begun == [[0]]
        lane.let_go.release()
        await settled()
        assert lane.begun == [[0], [1, 2, 3]]


async def test_a_full_batch_goes_beside_another() -> None:
    lane = HeldLane(max_batch=2, max_delay_ms=LONG_MS)
    async with running(lane):
        lane.add(fetched(0, 1, 2, 3, 4))
        await settled()
        assert lane.begun == [[0, 1], [2, 3]]


async def test_a_batch_that_is_due_goes_beside_another() -> None:
    lane = HeldLane(max_batch=8, max_delay_ms=1)
    async with running(lane):
        lane.add(fetched(0))
        await settled()
        lane.add(fetched(1))
        async with asyncio.timeout(5):
            while len(lane.begun) < 2:
                await asyncio.sleep(0.001)
    assert lane.begun == [[0], [1]]


async def test_the_first_error_of_works_done_at_once_ends_the_others_and_comes_as_it_is() -> None:
    ended = asyncio.Event()

    async def fail() -> None:
        raise FatalError("the brokers are gone")

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(FatalError, match="the brokers are gone"):
        await all_of(go_on(), fail())
    assert ended.is_set()


async def test_each_record_of_a_batch_tells_how_long_it_has_waited() -> None:
    now = 100.0
    lane = HeldLane(max_batch=3, max_delay_ms=LONG_MS, clock=lambda: now)
    lane.add(fetched(0, 1))
    now = 107.0
    lane.add(fetched(2, 3))
    async with running(lane):
        await settled()
    assert lane.gauges.waits == [7.0, 7.0, 0.0]


async def test_the_oldest_record_is_one_that_waits_or_is_worked_on() -> None:
    lane = HeldLane(max_batch=2, max_delay_ms=LONG_MS, max_in_flight=1)
    assert lane.oldest_timestamp_ms == math.inf
    async with running(lane):
        stamps = (-1, 3_000, 4_000, 2_000)
        records = [PlainRecord(offset=offset, timestamp=stamp) for offset, stamp in enumerate(stamps)]
        lane.add(Fetched(TopicPartition("t", 0), 1, records))
        assert lane.oldest_timestamp_ms == 2_000
        await settled()
        assert lane.oldest_timestamp_ms == 2_000
        lane.let_go.release()
        await settled()
        assert lane.begun == [[0, 1], [2, 3]]
        lane.let_go.release()
        await settled()
        assert lane.oldest_timestamp_ms == math.inf
        lane.add(Fetched(TopicPartition("t", 0), 1, [PlainRecord(offset=4, timestamp=5_000)]))
        await settled()
        assert lane.oldest_timestamp_ms == 5_000
