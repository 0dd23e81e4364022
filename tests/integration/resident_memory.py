"""How much memory a worker takes, and listings that are large."""

import asyncio
import base64
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil
from PIL import Image

from tests.integration.workers import Sent, Worker, listing

MB = 2**20
NUM_PICTURES = 32


class MemoryWatch:
    """Notes what memory a worker takes, and what CPU time, while the ``async with`` block runs.

    Args:
        worker: a running one.
        every_seconds: between two looks.
    """

    def __init__(self, worker: Worker, *, every_seconds: float = 0.2) -> None:
        assert worker.process is not None
        self._pid = worker.process.pid
        self._every_seconds = every_seconds
        self.samples: list[tuple[float, float]] = []
        """Seconds since the start, MB."""

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        self._cpu_seconds = -self._cpu_now()
        self._look()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._look()
        self._cpu_seconds += self._cpu_now()

    @property
    def first_mb(self) -> float:
        """When the watch began."""
        return self.samples[0][1]

    @property
    def last_mb(self) -> float:
        """When it ended."""
        return self.samples[-1][1]

    @property
    def cpu_percent(self) -> float:
        """CPU time while the watch ran, of one core."""
        return 100 * self._cpu_seconds / self.samples[-1][0]

    def peak_mb(self) -> float:
        """The most since the worker started, also between two looks, as the kernel has it."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        (peak,) = (line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024

    def _cpu_now(self) -> float:
        times = psutil.Process(self._pid).cpu_times()
        return times.user + times.system

    def _look(self) -> None:
        self.samples.append(
            (time.monotonic() - self._began, psutil.Process(self._pid).memory_info().rss / MB)
        )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            self._look()


def slope_mb_per_minute(samples: Sequence[tuple[float, float]]) -> float:
    """Of the straight line nearest to samples of (seconds, MB)."""
    seconds, megabytes = np.array(samples).T
    return float(np.polyfit(seconds / 60, megabytes, 1)[0])


def large_listings(num_listings: int, num_bytes: int) -> Iterator[Sent]:
    """Numbered listings of about so many bytes each, a JPEG inside."""
    pictures = [_noise(seed, num_bytes) for seed in range(min(NUM_PICTURES, num_listings))]
    for number in range(num_listings):
        yield listing(number, image={"data": pictures[number % len(pictures)]})


def _noise(seed: int, num_bytes: int) -> str:
    """A picture of 500 x 500 that base64 makes ``num_bytes`` long: what noise leaves open is filled."""
    noise = np.random.default_rng(seed).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=30)
    wanted = num_bytes * 3 // 4 // 3 * 3
    return base64.b64encode(file.getvalue().ljust(wanted, b"\0")).decode()
