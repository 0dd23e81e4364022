"""How far what is served drifts from what the version was measured on: rolling counts, and their PSI.

The latest events are counted in blocks, the oldest of which is let go when a new one begins, so memory does
not grow and no event is looked at twice. Counts belong to one version: when another one scores they begin
anew.
"""

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.inputs import PreparedBatch, Scores
from models.snapshot import Counts, Feature, Observed, Snapshot
from schemas.assignments import ModelReference
from stream_app.stages import Listing, Scored

__all__ = ["MIN_EVENTS", "DriftWatch"]

MIN_EVENTS: Final = 500
"""Fewest events that are compared."""

_NUM_BLOCKS: Final = 10


class DriftWatch:
    """Counts what is assigned. Safe to call from any thread.

    Args:
        window_events: how many of the latest events are compared, to a tenth more or less.
    """

    def __init__(self, window_events: int) -> None:
        self._block_events = window_events // _NUM_BLOCKS
        self._lock = threading.Lock()
        self._model: ModelReference | None = None
        self._snapshot: Snapshot | None = None
        self._blocks: deque[_Block] = deque(maxlen=_NUM_BLOCKS)

    def add(self, scored: Scored, snapshot: Snapshot | None) -> None:
        """Count a scored batch.

        Args:
            scored: the batch.
            snapshot: of the version that scored it; nothing is counted without.
        """
        if scored.scores is None or scored.inputs is None:
            return
        counts = None
        if snapshot is not None:
            counts = snapshot.count(_observed(scored.listings, scored.scores, scored.inputs))
        with self._lock:
            if scored.model != self._model:
                self._model, self._snapshot = scored.model, snapshot
                self._blocks.clear()
            if counts is None:
                return
            block = _Block(len(scored.listings), counts)
            if self._blocks and self._blocks[-1].num_events < self._block_events:
                block = self._blocks.pop().and_then(block)
            self._blocks.append(block)

    @property
    def num_events(self) -> int:
        """How many events are in the window."""
        with self._lock:
            return sum(block.num_events for block in self._blocks)

    def psi(self, feature: Feature) -> float:
        """How far a feature is from the snapshot; NaN without one, and for fewer than `MIN_EVENTS` events.

        Costs tens of microseconds.
        """
        with self._lock:
            snapshot = self._snapshot
            num_events = sum(block.num_events for block in self._blocks)
            if snapshot is None or num_events < MIN_EVENTS:
                return math.nan
            served = np.sum([block.counts[feature] for block in self._blocks], axis=0)
        return snapshot.drift(feature, served)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some events, one after the other, in bins."""

    num_events: int
    counts: Counts

    def and_then(self, other: "_Block") -> "_Block":
        both = {feature: counted + other.counts[feature] for feature, counted in self.counts.items()}
        return _Block(self.num_events + other.num_events, both)


def _observed(listings: Sequence[Listing], scores: Scores, inputs: PreparedBatch) -> Observed:
    return Observed.of(
        scores.probabilities_BC,
        [(listing.product.title, listing.product.description) for listing in listings],
        inputs.image_present_B | np.array([listing.picture_skipped for listing in listings], np.bool_),
    )
