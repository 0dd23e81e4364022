"""What every lane does: form batches, work on a few at a time, and hand results over in order.

A lane takes the records of one topic. How a batch is worked on is its own; forming, bounds, draining and the
watch over what hangs are here.
"""

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.acknowledgement import OffsetLedger
from stream_app.batching import Batch, BatchFormer, BatchSettings, Fetched
from stream_app.metric_labels import LaneKind

logger = logging.getLogger(__name__)


class LaneGauges(Protocol):
    """Where a lane shows what it holds."""

    def queue_depth(self, num_records: int, num_bytes: int) -> None:
        """Set what has been fetched and waits for a batch."""

    def queue_waits(self, seconds: NDArray[np.float64]) -> None:
        """Record how long the records of a batch have waited for it, shape (N,)."""

    def batches_in_flight(self, num_batches: int) -> None:
        """Set how many batches are between forming and acknowledgement."""


class Turn:
    """A place in an order: behind what is to come before it.

    Args:
        before: what comes before; None stands for nothing.
        on_over: called when it is over.
    """

    def __init__(self, *before: "Turn | None", on_over: Callable[[], None] = lambda: None) -> None:
        self.over: asyncio.Event = asyncio.Event()
        self._before = [turn.over for turn in before if turn is not None]
        self._on_over = on_over

    async def come(self) -> None:
        """Wait until everything before is over."""
        for each in self._before:
            await each.wait()

    def is_over(self) -> None:
        """Let the next ones come."""
        self.over.set()
        self._on_over()


async def all_of(*works: Coroutine[Any, Any, None]) -> None:
    """Do all of it at once; the first error ends the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Lane(ABC):
    """Forms batches of the records of one topic and works on them, a few at a time.

    Args:
        settings: how batches are formed.
        ledger: where the work on records begins and is done.
        gauges: where it shows what it holds.
        drain_seconds: longest wait for batches in flight at a rebalance or a stop.
        on_room: called when more records may be fetched.
        clock: seconds on a clock that never goes back.
    """

    kind: ClassVar[LaneKind]

    def __init__(
        self,
        settings: BatchSettings,
        ledger: OffsetLedger,
        gauges: LaneGauges,
        *,
        drain_seconds: float,
        on_room: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._gauges = gauges
        self._drain_seconds = drain_seconds
        self._on_room = on_room
        self._clock = clock
        self._former = BatchFormer(settings)
        self._arrived = asyncio.Event()
        self._in_flight: dict[asyncio.Task[None], float] = {}
        self._batches: dict[asyncio.Task[None], Batch] = {}
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._last_turn: Turn | None = None
        self._refused_generation = -1
        self._last_moved_at = float("-inf")

    @abstractmethod
    async def work(self, batch: Batch, turn: Turn) -> None:
        """Do everything for a batch, from decoding until the brokers have confirmed what it causes.

        `turn.come()` is awaited before the order of sending is settled, mostly by sending; `turn.is_over()`
        called once it is.

        Raises:
            FatalError: nothing more can be delivered; the batch stays unacknowledged.
        """

    def within(self, batch: Batch) -> AbstractContextManager[None]:  # noqa: ARG002
        """What all the work on a batch happens in, until it is done."""
        return nullcontext()

    @abstractmethod
    def close(self) -> None:
        """Let the threads go; nothing may be running."""

    @property
    def has_room(self) -> bool:
        """Whether more records should be fetched now."""
        return self._former.has_room

    @property
    def seconds_in_flight(self) -> float:
        """Since the oldest batch in flight began or went on, 0 when there is none: grows when one hangs."""
        return self._clock() - min(self._in_flight.values(), default=self._clock())

    @property
    def last_moved_at(self) -> float:
        """When a batch was last done or went on, by the lane's clock; minus infinity when none was yet."""
        return self._last_moved_at

    @property
    def oldest_timestamp_ms(self) -> float:
        """The earliest timestamp of a record that waits or is worked on; infinity when none has one."""
        in_flight = (batch.oldest_timestamp_ms for batch in self._batches.values())
        return min(self._former.oldest_timestamp_ms, min(in_flight, default=math.inf))

    def goes_on(self) -> None:
        """Tell that batches in flight, which may take long, have come further; safe from any thread."""
        for task in list(self._in_flight):
            self._in_flight[task] = self._clock()
        self._last_moved_at = self._clock()

    def add(self, fetched: Fetched) -> None:
        """Take records in; those of a generation that is over are dropped, their next owner reads them."""
        if fetched.generation <= self._refused_generation:
            return
        self._former.add(fetched, self._clock())
        self._show_queue()
        self._arrived.set()

    async def run(self) -> None:
        """Form batches and work on them until cancelled.

        Raises:
            FatalError: nothing more can be delivered; batches in flight stay unacknowledged.
        """
        try:
            async with asyncio.TaskGroup() as batches:
                while True:
                    await self._slots.acquire()
                    batch = await self._next_batch()
                    self._start(batches, batch)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def drain(self, generation: int) -> None:
        """Drop what waits and finish what is begun, within ``drain_seconds``."""
        self._refused_generation = max(generation, self._refused_generation)
        self._former.clear()
        self._show_queue()
        self._on_room()
        if self._in_flight:
            _, unfinished = await asyncio.wait(list(self._in_flight), timeout=self._drain_seconds)
            if unfinished:
                logger.warning(
                    "%d batches not finished in time; their records are read again", len(unfinished)
                )

    async def _next_batch(self) -> Batch:
        while True:
            due = self._former.seconds_until_due(self._clock())
            if due == 0 or (due is not None and not self._in_flight):
                break
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), due)
            except TimeoutError:
                continue
        had_room = self._former.has_room
        batch = self._former.take()
        self._gauges.queue_waits(self._clock() - np.asarray(batch.arrived_at))
        self._show_queue()
        if self._former.has_room and not had_room:
            self._on_room()
        return batch

    def _start(self, batches: asyncio.TaskGroup, batch: Batch) -> None:
        if not self._ledger.begin(batch.spans):
            self._slots.release()
            return
        self._last_turn = Turn(self._last_turn)
        task = batches.create_task(self._work(batch, self._last_turn))
        self._in_flight[task] = self._clock()
        self._batches[task] = batch
        self._gauges.batches_in_flight(len(self._in_flight))
        task.add_done_callback(self._finished)

    async def _work(self, batch: Batch, turn: Turn) -> None:
        with self.within(batch):
            await self.work(batch, turn)
        self._ledger.done(batch.spans)
        self._last_moved_at = self._clock()

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task], self._batches[task]
        self._gauges.batches_in_flight(len(self._in_flight))
        self._slots.release()
        if not self._in_flight:
            self._arrived.set()

    def _show_queue(self) -> None:
        self._gauges.queue_depth(self._former.num_records, self._former.num_bytes)
