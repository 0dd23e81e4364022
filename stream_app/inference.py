"""The model on its device: a thread for texts, one for what has pictures, and the version that serves."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Self

import numpy as np
import torch

from models.cascade import Cascade
from models.errors import NonFiniteScoresError
from models.evidence_cache import EvidenceCache, EvidenceLookup, Modality
from models.explain.product import ProductExplainer
from models.inputs import PreparedBatch, Scores
from models.repository import ModelLocation
from models.runtime import Classifier, resolve_device
from schemas.assignments import ModelReference
from schemas.dead_letters import Stage
from stream_app.errors import FatalError
from stream_app.isolation import isolate
from stream_app.memory import BatchCap, is_out_of_memory
from stream_app.settings import InferenceSettings
from stream_app.stages import Listing, Prepared, Rejected, Scored, named

logger = logging.getLogger(__name__)

OnLookup = Callable[[Modality, EvidenceLookup, int], None]
"""Told what was done about how many texts or pictures of a batch."""


class LoadedVersion:
    """A version that is checked and warm, with what is learnt about it while it serves.

    Attributes:
        classifier: the version.
        cascade: when a text alone is certain; None where every picture is looked at.
        cap: the most rows with pictures that are known to fit in memory.
        text_cap: the same of rows without.

    Args:
        classifier: a loaded version.
        cap: as the attribute.
        cascade: whether pictures are left out where the text alone is certain.

    Raises:
        CascadeError: they shall be, but the version does not say when a text is certain.
    """

    def __init__(self, classifier: Classifier, cap: BatchCap | None = None, *, cascade: bool = False) -> None:
        self.classifier = classifier
        self.cascade = Cascade.required(classifier.cascade, str(self)) if cascade else None
        self.cap = cap or BatchCap()
        self.text_cap = self.cap.another()

    @classmethod
    def load(
        cls,
        location: ModelLocation,
        settings: InferenceSettings,
        *,
        max_batch: int,
        on_retry: Callable[[], None] = lambda: None,
        on_lookup: OnLookup = lambda _modality, _lookup, _num: None,
    ) -> Self:
        """Load a version, check its golden products and warm it up. Blocks.

        Batches of ``max_batch`` rows that do not fit in memory are made smaller from the start.

        Args:
            location: where the version is.
            settings: the device, and how to score on it.
            max_batch: most rows in one batch.
            on_retry: called, from the thread that scores, for every batch that ran out of memory.
            on_lookup: told, from the threads that prepare, what was done about texts and pictures of a batch.

        Raises:
            models.errors.ModelError: the version is broken, it does not score as it should, or it has no
                threshold for the cascade that is asked for.
        """
        device = resolve_device(settings.device)
        classifier = Classifier.load(
            location.folder,
            device,
            num_threads=settings.inference_threads,
            precision=settings.precision,
            cache=_evidence_cache(settings, on_lookup),
        )
        loaded = cls(classifier, BatchCap(on_retry), cascade=settings.cascade)
        classifier.check_golden()
        warm_up(classifier, max_batch, loaded.cap)
        logger.info("loaded %s on %s", str(loaded), device)
        if loaded.cascade is not None:
            logger.info("pictures are skipped: %s", loaded.cascade)
        return loaded

    @cached_property
    def explainer(self) -> ProductExplainer:
        """Explains what the version says; it goes with the version."""
        return ProductExplainer(self.classifier)

    def __str__(self) -> str:
        return f"{self.classifier.name}@{self.classifier.version}"


class Inference:
    """Scores batches, those with and those without pictures on a thread of their own, in the order they come.

    Attributes:
        serving: the version that batches are begun with from now on. One that is begun is prepared, scored
            and told of with the version it was begun with, whatever serves by then.

    Args:
        serving: the version to begin with.
    """

    def __init__(self, serving: LoadedVersion) -> None:
        self.serving = serving
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self._text_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference of texts")

    async def score(self, prepared: Prepared, version: LoadedVersion) -> Scored:
        """Score a batch with the version that prepared it; one without pictures does not wait for those with.

        Raises:
            FatalError: the device or the model is broken, not the listing.
        """
        has_pictures = prepared.inputs is not None and len(prepared.inputs.image_rows_N) > 0
        if has_pictures:
            thread, cap = self._thread, version.cap
        else:
            thread, cap = self._text_thread, version.text_cap
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(thread, score_listings, prepared, version.classifier, cap)

    def stop(self) -> None:
        """End the threads; a forward pass that runs is not waited for."""
        for thread in (self._thread, self._text_thread):
            thread.shutdown(wait=False, cancel_futures=True)


def _evidence_cache(settings: InferenceSettings, on_lookup: OnLookup) -> EvidenceCache | None:
    if not settings.evidence_cache_bytes:
        return None
    return EvidenceCache(settings.evidence_cache_bytes, on_lookup=on_lookup)


def warm_up(classifier: Classifier, max_batch: int, cap: BatchCap) -> None:
    """Warm a version up with the largest batch that fits: ``max_batch`` rows, or half as often as needed.

    Raises:
        RuntimeError: not even one row fits, or the model fails.
    """
    num_rows = max_batch
    while not _warms_up(classifier, num_rows, cap):
        _free_device_memory(classifier)
        num_rows = cap.num_rows


def _warms_up(classifier: Classifier, num_rows: int, cap: BatchCap) -> bool:
    try:
        classifier.warm_up(num_rows)
    except (RuntimeError, MemoryError) as error:
        if num_rows < 2 or not is_out_of_memory(error):
            raise
        cap.ran_out(num_rows)
        return False
    return True


def score_listings(prepared: Prepared, classifier: Classifier, cap: BatchCap | None = None) -> Scored:
    """Score the rows of a batch; a row the model fails for, or answers NaN for, is rejected.

    Args:
        prepared: the batch.
        classifier: the version that prepared it.
        cap: the most rows that are known to fit in memory; lowered when a batch does not.

    Raises:
        FatalError: the model fails on its own golden products as well, or the device is lost.
    """
    model = ModelReference(name=classifier.name, version=classifier.version)
    inputs = prepared.inputs
    if inputs is None:
        return Scored((), None, None, model, classifier.labels, prepared.rejected)
    parts, failed = _score_parts(inputs, classifier, cap or BatchCap())
    if failed:
        _blame_model_or_listing(classifier, failed[0][1])
    rejected = [*prepared.rejected, *(_rejected(prepared.listings[row], error) for row, error in failed)]
    rows = np.array([row for part, _ in parts for row in part], dtype=np.int64)
    if not len(rows):
        return Scored((), None, None, model, classifier.labels, rejected)
    scores = parts[0][1] if len(parts) == 1 else Scores.concatenate([part for _, part in parts])
    return _finite(
        prepared.listings, inputs, rows, scores, Scored((), None, None, model, classifier.labels, rejected)
    )


Part = tuple[Sequence[int], Scores]


def _score_parts(
    inputs: PreparedBatch, classifier: Classifier, cap: BatchCap
) -> tuple[list[Part], list[tuple[int, Exception]]]:
    parts: list[Part] = []
    failed: list[tuple[int, Exception]] = []
    waiting, cap_before = [range(inputs.num_products)], cap.num_rows
    while waiting:
        rows = waiting.pop()
        if len(rows) > cap.num_rows:
            # The rest is looked at again afterwards: the cap may be lower by then.
            waiting.append(rows[cap.num_rows :])
            rows = rows[: cap.num_rows]
        done, bad = isolate(lambda part: _forward(classifier, inputs, part, cap), rows)
        parts += done
        failed += bad
    if any(is_out_of_memory(error) for _, error in failed):
        cap.restore(cap_before)
    return parts, failed


def _forward(classifier: Classifier, inputs: PreparedBatch, rows: Sequence[int], cap: BatchCap) -> Scores:
    try:
        return classifier.score(inputs if len(rows) == inputs.num_products else inputs.select(rows))
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            cap.ran_out(len(rows))
            _free_device_memory(classifier)
            raise
        if "CUDA error" in str(error) or "device-side assert" in str(error):
            raise FatalError(f"the device is lost: {str(error).splitlines()[0]}") from error
        raise


def _free_device_memory(classifier: Classifier) -> None:
    """Give blocks that the failed pass has left in the cache back, so that smaller ones find room."""
    if classifier.device.type == "cuda":
        torch.cuda.empty_cache()


def _blame_model_or_listing(classifier: Classifier, error: Exception) -> None:
    """A listing is to blame only if the model still scores its golden products right."""
    try:
        classifier.check_golden()
    except Exception as broken:
        raise FatalError(f"the model fails on every product, on its golden ones too: {broken}") from error


def _rejected(listing: Listing, error: Exception) -> Rejected:
    logger.warning(
        "the model failed on a listing: %s: %s",
        type(error).__name__,
        error,
        extra=named(listing.record, listing.product.event_id),
    )
    return Rejected(listing.record, error, Stage.INFERENCE, listing.product.event_id)


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
                listings[row].product.event_id,
            )
            for row in rows[~finite].tolist()
        ),
    ]
    kept = rows[finite].tolist()
    if len(kept) < inputs.num_products:
        inputs, scores = inputs.select(kept), scores.select(finite)
    return Scored([listings[row] for row in kept], inputs, scores, empty.model, empty.labels, rejected)
