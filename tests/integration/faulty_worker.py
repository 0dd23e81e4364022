"""`shelver worker` with one function broken: ``python -m tests.integration.faulty_worker FAULT``."""

import asyncio
import sys
import time
from collections.abc import Callable

from models.runtime import Classifier
from stream_app import inference
from stream_app.cli import main
from stream_app.fetching import WholeFetchConsumer
from stream_app.memory import BatchCap
from stream_app.stages import Prepared, Scored

FOREVER_SECONDS = 3_600.0
SLOW_SECONDS = 3.0


def fetches_once() -> None:
    """The fetch loop hands over what comes first and then waits for something that never comes."""
    fetch_once = WholeFetchConsumer._fetch_once

    async def broken(self: WholeFetchConsumer) -> None:
        if self.flow.last_fetch_at:
            await asyncio.sleep(FOREVER_SECONDS)
        await fetch_once(self)

    WholeFetchConsumer._fetch_once = broken  # type: ignore[method-assign]


def model_hangs() -> None:
    """The model never answers."""

    def broken(prepared: Prepared, classifier: Classifier, cap: BatchCap | None = None) -> Scored:  # noqa: ARG001
        time.sleep(FOREVER_SECONDS)
        raise AssertionError

    inference.score_listings = broken


def slow_model() -> None:
    """Each batch takes some seconds more."""
    score = inference.score_listings

    def broken(prepared: Prepared, classifier: Classifier, cap: BatchCap | None = None) -> Scored:
        time.sleep(SLOW_SECONDS)
        return score(prepared, classifier, cap)

    inference.score_listings = broken


FAULTS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (fetches_once, model_hangs, slow_model)
}


if __name__ == "__main__":
    FAULTS[sys.argv.pop()]()
    sys.argv.append("worker")
    main()
