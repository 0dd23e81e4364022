"""`shelver worker` with one fault inside: ``python -m tests.integration.faulty_worker FAULT``.

One function of the product or of a library is replaced; everything else is the real worker. The log says
when the fault strikes, so that a test can tell that it did.
"""

import asyncio
import errno
import itertools
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerFenced

from models.runtime import Classifier
from stream_app import inference
from stream_app.cli import main
from stream_app.fetching import WholeFetchConsumer
from stream_app.memory import BatchCap
from stream_app.service import Service
from stream_app.stages import Prepared, Scored

STRIKES = "the fault strikes"
FOREVER_SECONDS = 3_600.0
SLOW_SECONDS = 3.0
CALLS_BEFORE_FAULT = 6
LARGEST_BATCH_THAT_FITS = 8


def _strike() -> None:
    print(STRIKES, file=sys.stderr, flush=True)


def fetches_once() -> None:
    """The fetch loop hands over what comes first and then waits for something that never comes."""
    fetch_once = WholeFetchConsumer._fetch_once

    async def broken(self: WholeFetchConsumer) -> None:
        if self.flow.last_fetch_at:
            _strike()
            await asyncio.sleep(FOREVER_SECONDS)
        await fetch_once(self)

    WholeFetchConsumer._fetch_once = broken  # type: ignore[method-assign]


def _before_scoring(fault: Callable[[int, Any], None]) -> None:
    """Run ``fault(call number, inputs)`` before each forward pass, that of golden products included."""
    score, calls = Classifier.score, itertools.count()

    def faulty(self: Classifier, prepared: Any) -> Any:
        fault(next(calls), prepared)
        return score(self, prepared)

    Classifier.score = faulty  # type: ignore[method-assign]


def model_raises() -> None:
    """The model fails now and then."""

    def fail(call: int, _: Any) -> None:
        if call > CALLS_BEFORE_FAULT and call % 5 == 0:
            _strike()
            raise ValueError("the model fails now and then")

    _before_scoring(fail)


def _before_each_batch(fault: Callable[[], None]) -> None:
    """Run ``fault`` on the thread of the model before each batch of listings."""
    score = inference.score_listings

    def faulty(prepared: Prepared, classifier: Classifier, cap: BatchCap | None = None) -> Scored:
        _strike()
        fault()
        return score(prepared, classifier, cap)

    inference.score_listings = faulty


def model_hangs() -> None:
    """The model never answers."""
    _before_each_batch(lambda: time.sleep(FOREVER_SECONDS))


def slow_model() -> None:
    """Each batch takes some seconds more."""
    _before_each_batch(lambda: time.sleep(SLOW_SECONDS))


def device_lost() -> None:
    """Every call fails after the first assert, as CUDA does."""

    def fail(call: int, _: Any) -> None:
        if call >= CALLS_BEFORE_FAULT:
            _strike()
            raise RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA")

    _before_scoring(fail)


def out_of_memory() -> None:
    """Batches above a size do not fit."""

    def fail(call: int, prepared: Any) -> None:
        if call > CALLS_BEFORE_FAULT and prepared.num_products > LARGEST_BATCH_THAT_FITS:
            _strike()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    _before_scoring(fail)


def _producer_fails(error: type[KafkaError]) -> None:
    send_batch, calls = AIOKafkaProducer.send_batch, itertools.count()

    async def faulty(self: AIOKafkaProducer, *arguments: Any, **named: Any) -> Any:
        if next(calls) == CALLS_BEFORE_FAULT:
            _strike()
            raise error
        return await send_batch(self, *arguments, **named)

    AIOKafkaProducer.send_batch = faulty


def producer_fenced() -> None:
    """The brokers refuse the producer: another one took its place."""
    _producer_fails(ProducerFenced)


def out_of_sequence() -> None:
    """The brokers miss a batch before the one that comes."""
    _producer_fails(OutOfOrderSequenceNumber)


def disk_full() -> None:
    """No file can be opened for writing, and nothing more can be logged."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or arguments[0] == os.devnull:
            return
        flags = arguments[2]
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

    _strike()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, sys.stdout.fileno())
    os.dup2(full, sys.stderr.fileno())
    sys.addaudithook(refuse)


def talkative() -> None:
    """Libraries warn, write lines that do not fit their arguments or have several, and a thread dies."""
    start = Service.start

    async def talk_and_start(self: Service) -> None:
        warnings.warn("a library\nwarns", stacklevel=1)
        logging.getLogger("aiokafka.cluster").error("two lines:\n%s", "{}")
        logging.getLogger("faust.transport").warning("does not fit: %d %d", "x")  # noqa: PLE1206 (the fault)
        dying = threading.Thread(target=lambda: 1 // 0)
        dying.start()
        dying.join()
        try:
            json.loads("{")
        except ValueError:
            logging.getLogger("mode.services").exception("a traceback")
        await start(self)

    Service.start = talk_and_start  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        fetches_once,
        model_raises,
        model_hangs,
        slow_model,
        device_lost,
        out_of_memory,
        producer_fenced,
        out_of_sequence,
        disk_full,
        talkative,
    )
}


def command(fault: str) -> tuple[str, ...]:
    """What starts a worker with this fault."""
    return (sys.executable, "-m", "tests.integration.faulty_worker", fault)


if __name__ == "__main__":
    FAULTS[sys.argv.pop()]()
    sys.argv = ["shelver", "worker"]
    main()
