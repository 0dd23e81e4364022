"""A model that does nothing: fixed scores, no preparation, so that the stream alone is measured.

``python -m tests.perf.peers.identity`` is ``shelver worker`` with it; everything else is the real worker.
"""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from models.inputs import PreparedBatch, Product, Scores, TextFeatures
from models.runtime import Classifier

VARIABLE = "SHELVER_TEST_IDENTITY"


def use_identity_if_asked() -> None:
    """Have every classifier of this process do nothing when the environment says so."""
    if os.environ.get(VARIABLE) == "1":
        use_identity()


def use_identity() -> None:
    """Have every classifier of this process do nothing."""
    Classifier.prepare = _prepare  # type: ignore[method-assign]
    Classifier.prepare_to_score = _prepare  # type: ignore[method-assign]
    Classifier.score = _score  # type: ignore[method-assign]
    Classifier.check_golden = lambda *_: 0.0  # type: ignore[method-assign]
    Classifier.warm_up = lambda *_: None  # type: ignore[method-assign]


def _prepare(
    self: Classifier, products: Sequence[Product], executor: Executor | None = None
) -> PreparedBatch:
    del self, executor
    absent = TextFeatures.absent(len(products))
    return PreparedBatch.of_texts(replace(absent, present_B=np.ones(len(products), np.bool_)))


def _score(self: Classifier, prepared: PreparedBatch) -> Scores:
    num_categories = len(self.labels.codes)
    shape = (prepared.num_products, num_categories)
    return Scores(np.zeros(shape, np.float32), np.full(shape, 1 / num_categories, np.float32))


if __name__ == "__main__":
    use_identity()
    sys.argv = ["shelver", "worker"]
    from stream_app.cli import main

    main()
