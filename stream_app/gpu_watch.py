"""How busy the GPU of the model is, as its driver says (NVML); nothing is asked on a machine without one.

Figures that cannot be had are NaN: a driver that answers no more must not end a worker that scores.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What is in use of a whole GPU, by other processes too; NaN where the driver does not say.

    Attributes:
        used_bytes: memory in use.
        total_bytes: memory that it has.
        utilisation: share of the driver's latest period in which it computed, 0 to 1.
    """

    used_bytes: float = math.nan
    total_bytes: float = math.nan
    utilisation: float = math.nan


class Gpu:
    """A GPU that its driver is asked about.

    Args:
        nvml: the module `pynvml`, initialised.
        handle: of the device.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def read(self) -> GpuReading:
        """Ask the driver; takes about a millisecond, longer when it is in trouble."""
        return GpuReading(
            used_bytes=self._told(lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used),
            total_bytes=self._told(lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total),
            # A slice of a GPU (MIG) has no utilisation of its own.
            utilisation=self._told(lambda: self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100),
        )

    def _told(self, ask: Callable[[], float]) -> float:
        try:
            return float(ask())
        except self._nvml.NVMLError as error:
            logger.debug("the driver of the GPU does not say: %s", error)
            return math.nan


def open_gpu(device: torch.device) -> Gpu | None:
    """The GPU that a model is on; None on a CPU, and where its driver cannot be asked."""
    if device.type != "cuda":
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        # Not by number: CUDA_VISIBLE_DEVICES renumbers those of CUDA.
        uuid = torch.cuda.get_device_properties(device).uuid
        return Gpu(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
    except (pynvml.NVMLError, AttributeError) as error:
        logger.warning("no figures of the GPU: %s", error)
        return None


async def watch_gpu(gpu: Gpu, *, on_reading: Callable[[float, float, float], None]) -> None:
    """Read every few seconds, in a thread, until cancelled.

    Args:
        gpu: what is read.
        on_reading: told bytes in use, bytes in all and utilisation, as `GpuReading` has them.
    """
    while True:
        reading = await asyncio.to_thread(gpu.read)
        on_reading(reading.used_bytes, reading.total_bytes, reading.utilisation)
        await asyncio.sleep(INTERVAL_SECONDS)
