"""What one peer does under load: its capacity, its CPU an event, and how long events take below capacity."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
import psutil

from tests.integration.workers import Worker
from tests.perf.traffic import Sent, Traffic

T = TypeVar("T")

SHARES = (0.5, 0.9)
"""Of the capacity, at which latency is measured."""
TICK_SECONDS = 0.005
MAX_LOAD_SECONDS = 6.0
IDLE_PER_SECOND, NUM_IDLE = 5.0, 100
"""Listings that come alone, one after the other has long been answered."""


@dataclass(frozen=True)
class Capacity:
    """How fast a backlog is worked off."""

    per_second: float
    cpu_us: float
    """Processor time of the worker process an event."""


@dataclass(frozen=True)
class Latency:
    """How long events take at a rate."""

    asked_per_second: float
    per_second: float
    """That came out; below what was asked the queue grew, and the times say so."""
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, asked: float, ages_ms: Sequence[float], out_at_ms: Sequence[float]) -> "Latency":
        p50, p99 = np.percentile(ages_ms, [50, 99])
        return cls(round(asked, 1), round(rate(out_at_ms), 1), round(float(p50), 1), round(float(p99), 1))


@dataclass(frozen=True)
class Measured:
    """One peer on one kind of listings."""

    kind: str
    peer: str
    events: int
    capacity: Capacity
    latencies: dict[str, Latency]
    """By share of the capacity."""
    idle: Latency
    """Of listings that come alone."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def rate(times_ms: Sequence[float]) -> float:
    """Events a second between the first and the last; those of the first millisecond began before it."""
    first, last = min(times_ms), max(times_ms)
    num_after = sum(each > first for each in times_ms)
    return 1e3 * num_after / (last - first) if last > first else float(len(times_ms))


def running(worker: Worker) -> psutil.Process:
    """The process of a worker, which runs."""
    assert worker.process is not None
    assert worker.process.poll() is None, f"{worker.log} tells why the worker exited"
    return psutil.Process(worker.process.pid)


def cpu_seconds(worker: Worker) -> float:
    """Processor time that a worker has taken, with the processes that it has started."""
    process = running(worker)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


async def steadily(
    listings: Sequence[T], per_second: float, send: Callable[[Sequence[T]], Awaitable[None]]
) -> None:
    """Hand over what is due, a few times a tick at most, whatever becomes of it."""
    began, num_sent = time.perf_counter(), 0
    while num_sent < len(listings):
        due = min(len(listings), int((time.perf_counter() - began) * per_second) + 1)
        if due > num_sent:
            await send(listings[num_sent:due])
        num_sent = due
        await asyncio.sleep(TICK_SECONDS)


async def at_rates(
    traffic: Traffic,
    capacity: Capacity,
    num_events: int,
    measure: Callable[[list[Sent], float], Awaitable[Latency]],
) -> tuple[dict[str, Latency], Latency]:
    """Latencies at shares of the capacity, and of listings that come alone; at most ``num_events`` each."""
    idle = await measure(traffic.take(min(NUM_IDLE, num_events)), IDLE_PER_SECOND)
    latencies = {}
    for share in SHARES:
        per_second = share * capacity.per_second
        latencies[f"{share:.0%}"] = await measure(traffic.take(num_at(per_second, num_events)), per_second)
    return latencies, idle


def num_at(per_second: float, most: int) -> int:
    """How many listings to publish at a rate."""
    return max(20, min(most, int(per_second * MAX_LOAD_SECONDS)))
