"""The model on its device: one thread, one current version."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import torch

from models.errors import NonFiniteScoresError
from models.inputs import PreparedBatch, Scores
from models.repository import ModelRepository
from models.runtime import Classifier, resolve_device
from schemas.assignments import ModelReference
from schemas.dead_letters import Stage
from stream_app.errors import FatalError
from stream_app.isolation import isolate
from stream_app.settings import InferenceSettings
from stream_app.stages import Listing, Prepared, Rejected, Scored

logger = logging.getLogger(__name__)


class Inference:
    """Scores batches, one at a time and in the order they come, on a thread of its own.

    Args:
        classifier: a loaded and warm version.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    @classmethod
    def load(cls, settings: InferenceSettings, *, max_batch: int) -> Self:
        """Load the version that the settings name, check its golden products and warm it up. Blocks.

        Raises:
            models.errors.ModelError: there is no such version, it is broken, or it does not score as it
                should.
        """
        version = ModelRepository(Path(settings.model_repository)).resolve(settings.model)
        device = resolve_device(settings.device)
        classifier = Classifier.load(version.folder, device, num_threads=settings.inference_threads)
        classifier.check_golden()
        classifier.warm_up(max_batch)
        logger.info("serving %s version %s on %s", classifier.name, classifier.version, device)
        return cls(classifier)

    @property
    def classifier(self) -> Classifier:
        """The version that serves now; a batch is prepared and scored by one and the same."""
        return self._classifier

    async def score(self, prepared: Prepared, classifier: Classifier) -> Scored:
        """Score a prepared batch.

        Raises:
            FatalError: the device or the model is broken, not the listing.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, score_listings, prepared, classifier)

    def stop(self) -> None:
        """End the thread; a forward pass that runs is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def score_listings(prepared: Prepared, classifier: Classifier) -> Scored:
    """Score the rows of a batch; a row the model fails for, or answers NaN for, is rejected.

    Raises:
        FatalError: the model fails on its own golden products as well, or the device is lost.
    """
    model = ModelReference(name=classifier.name, version=classifier.version)
    inputs = prepared.inputs
    if inputs is None:
        return Scored((), None, None, model, classifier.labels, prepared.rejected)
    parts, failed = isolate(
        lambda rows: _forward(
            classifier, inputs if len(rows) == inputs.num_products else inputs.select(rows)
        ),
        range(inputs.num_products),
    )
    if failed:
        _blame_model_or_listing(classifier, failed[0][1])
    rejected = [
        *prepared.rejected,
        *(Rejected(prepared.listings[row].record, error, Stage.INFERENCE) for row, error in failed),
    ]
    rows = np.array([row for part, _ in parts for row in part], dtype=np.int64)
    if not len(rows):
        return Scored((), None, None, model, classifier.labels, rejected)
    scores = parts[0][1] if len(parts) == 1 else Scores.concatenate([part for _, part in parts])
    return _finite(
        prepared.listings, inputs, rows, scores, Scored((), None, None, model, classifier.labels, rejected)
    )


def _forward(classifier: Classifier, inputs: PreparedBatch) -> Scores:
    try:
        return classifier.score(inputs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "CUDA error" in str(error) or "device-side assert" in str(error):
            raise FatalError(f"the device is lost: {str(error).splitlines()[0]}") from error
        raise


def _blame_model_or_listing(classifier: Classifier, error: Exception) -> None:
    """A listing is to blame only if the model still scores its golden products right."""
    try:
        classifier.check_golden()
    except Exception as broken:
        raise FatalError(f"the model fails on every product, on its golden ones too: {broken}") from error
    logger.warning("the model failed on a listing: %s: %s", type(error).__name__, error)


def _finite(
    listings: Sequence[Listing], inputs: PreparedBatch, rows: np.ndarray, scores: Scores, empty: Scored
) -> Scored:
    finite = scores.finite_B
    rejected = [
        *empty.rejected,
        *(
            Rejected(
                listings[row].record,
                NonFiniteScoresError("the model answered NaN or infinity for it"),
                Stage.INFERENCE,
            )
            for row in rows[~finite].tolist()
        ),
    ]
    kept = rows[finite].tolist()
    if len(kept) < inputs.num_products:
        inputs, scores = inputs.select(kept), scores.select(finite)
    return Scored([listings[row] for row in kept], inputs, scores, empty.model, empty.labels, rejected)
