"""How many rows fit in memory at once: learnt when a batch does not, remembered from then on."""

import logging
from collections.abc import Callable

import torch

logger = logging.getLogger(__name__)

UNBOUNDED = 2**31


class BatchCap:
    """The most rows of one forward pass.

    It never grows again: memory that was too small once is mostly taken by a neighbour or by the model, and
    every attempt to grow costs a failed pass. A restart forgets it. Only one thread uses it.

    Args:
        on_retry: called whenever a batch ran out of memory and is tried again in smaller parts.
    """

    def __init__(self, on_retry: Callable[[], None] = lambda: None) -> None:
        self._on_retry = on_retry
        self.num_rows = UNBOUNDED

    def another(self) -> "BatchCap":
        """A cap of its own for other batches, that tells the same."""
        return BatchCap(self._on_retry)

    def ran_out(self, num_rows: int) -> None:
        """Take note that so many rows did not fit; more than the cap says nothing new."""
        if num_rows < 2:
            return
        self._on_retry()
        if num_rows <= self.num_rows:
            self.num_rows = num_rows // 2
            logger.warning("out of memory with %d rows; at most %d from now on", num_rows, self.num_rows)

    def restore(self, num_rows: int) -> None:
        """Take back what was learnt since: one listing that does not fit even alone was to blame."""
        self.num_rows = num_rows


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the device or of the process, did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "not enough memory" in text or "DefaultCPUAllocator: can't allocate" in text
    )
