"""`shelver worker` with one fault inside, named by ``SHELVER_TEST_FAULT``: what the ledger of faults starts.

One function of the product or of a library is replaced; everything else is the real worker.
"""

import errno
import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerFenced

from models.runtime import Classifier
from stream_app.cli import main

CALLS_BEFORE_FAULT = 6
LARGEST_BATCH_THAT_FITS = 8


def _before_scoring(fault: Callable[[int, Any], None]) -> None:
    """Run ``fault(call number, inputs)`` before each forward pass."""
    score, calls = Classifier.score, itertools.count()

    def faulty(self: Classifier, prepared: Any) -> Any:
        fault(next(calls), prepared)
        return score(self, prepared)

    Classifier.score = faulty  # type: ignore[method-assign]


def _model_raises(call: int, _: Any) -> None:
    if call > CALLS_BEFORE_FAULT and call % 5 == 0:
        raise ValueError("the model fails now and then")


def _model_hangs(call: int, _: Any) -> None:
    if call == CALLS_BEFORE_FAULT:
        time.sleep(3600)


def _device_lost(call: int, _: Any) -> None:
    if call >= CALLS_BEFORE_FAULT:
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA")


def _out_of_memory(call: int, prepared: Any) -> None:
    if call > CALLS_BEFORE_FAULT and prepared.num_products > LARGEST_BATCH_THAT_FITS:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def _producer_fails(error: type[KafkaError]) -> None:
    send_batch, calls = AIOKafkaProducer.send_batch, itertools.count()

    async def faulty(self: AIOKafkaProducer, *arguments: Any, **named: Any) -> Any:
        if next(calls) == CALLS_BEFORE_FAULT:
            raise error
        return await send_batch(self, *arguments, **named)

    AIOKafkaProducer.send_batch = faulty


def _disk_full() -> None:
    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or arguments[0] == os.devnull:
            return
        flags = arguments[2]
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

    sys.addaudithook(refuse)


FAULTS: dict[str, Callable[[], None]] = {
    "model_raises": lambda: _before_scoring(_model_raises),
    "model_hangs": lambda: _before_scoring(_model_hangs),
    "device_lost": lambda: _before_scoring(_device_lost),
    "out_of_memory": lambda: _before_scoring(_out_of_memory),
    "producer_fenced": lambda: _producer_fails(ProducerFenced),
    "out_of_sequence": lambda: _producer_fails(OutOfOrderSequenceNumber),
    "disk_full": _disk_full,
}


if __name__ == "__main__":
    FAULTS[os.environ["SHELVER_TEST_FAULT"]]()
    sys.argv = ["shelver", "worker"]
    main()
