"""What is asked of a GPU's driver, and what becomes of a driver that does not say."""

import asyncio
import math
from dataclasses import dataclass, field

import pytest
import torch

from stream_app.gpu_watch import Gpu, GpuReading, open_gpu, watch_gpu


class NVMLError(Exception):
    """As the driver's module has it."""


@dataclass
class Told:
    used: int = 3 * 2**30
    total: int = 80 * 2**30
    gpu: int = 45


@dataclass
class Driver:
    """Answers like `pynvml`, unless it is told to be silent."""

    told: Told = field(default_factory=Told)
    silent: tuple[str, ...] = ()
    NVMLError = NVMLError

    def _answer(self, name: str) -> Told:
        if name in self.silent:
            raise NVMLError("Not Supported")
        return self.told

    def nvmlDeviceGetMemoryInfo(self, _handle: object) -> Told:
        return self._answer("memory")

    def nvmlDeviceGetUtilizationRates(self, _handle: object) -> Told:
        return self._answer("utilisation")


def test_memory_and_utilisation_are_read_in_base_units() -> None:
    assert Gpu(Driver(), "handle").read() == GpuReading(3 * 2**30, 80 * 2**30, 0.45)


def test_what_a_driver_does_not_say_is_not_known_and_the_rest_is() -> None:
    of_a_slice = Gpu(Driver(silent=("utilisation",)), "handle").read()
    assert of_a_slice.used_bytes == 3 * 2**30
    assert math.isnan(of_a_slice.utilisation)
    lost = Gpu(Driver(silent=("memory", "utilisation")), "handle").read()
    assert all(map(math.isnan, (lost.used_bytes, lost.total_bytes, lost.utilisation)))


def test_on_a_cpu_no_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert open_gpu(torch.device("cpu")) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="the driver is there")
def test_a_driver_that_cannot_be_asked_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    assert open_gpu(torch.device("cuda")) is None
    assert "no figures of the GPU" in caplog.text


async def test_readings_go_on_until_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_app.gpu_watch.INTERVAL_SECONDS", 0)
    readings: list[tuple[float, float, float]] = []
    several = asyncio.Event()

    def take(*reading: float) -> None:
        readings.append((reading[0], reading[1], reading[2]))
        if len(readings) == 3:
            several.set()

    task = asyncio.create_task(watch_gpu(Gpu(Driver(), "handle"), on_reading=take))
    await asyncio.wait_for(several.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(readings) == {(3 * 2**30, 80 * 2**30, 0.45)}
