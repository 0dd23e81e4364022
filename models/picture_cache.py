"""What an image encoder has said about the latest pictures, by content: no file is computed twice."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageReason

__all__ = ["KnownPicture", "PictureCache", "PictureLookup", "digest_of"]

ENTRY_OVERHEAD_BYTES = 400
"""What Python keeps around an entry, its digest included."""

KnownPicture = NDArray[np.float32] | ImageReason
"""The evidence of a picture, float32 of length C, or why it can never be used."""


class PictureLookup(StrEnum):
    """What was done about one picture of a batch."""

    HIT = "hit"
    """An earlier batch had the same file; it is neither decoded nor computed."""
    SHARED = "shared"
    """Another product of the batch has the same file, they share the work."""
    MISS = "miss"
    """It is decoded and computed."""


class PictureCache:
    """The latest pictures by a hash of their files, bounded in bytes; any number of threads may share one.

    Belongs to one loaded version: another says something else about the same picture. What was looked up
    longest ago goes first.

    Args:
        max_bytes: of evidence with everything around it.
        on_lookup: told what was done about how many pictures of a batch, in the thread that asks.
    """

    def __init__(
        self, max_bytes: int, *, on_lookup: Callable[[PictureLookup, int], None] = lambda _what, _num: None
    ) -> None:
        self._max_bytes = max_bytes
        self._on_lookup = on_lookup
        self._entries: OrderedDict[bytes, KnownPicture] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def look_up(self, digests: Sequence[bytes]) -> Mapping[bytes, KnownPicture]:
        """What is known of the pictures of one batch, repeats allowed; the unknown ones are left out."""
        known: dict[bytes, KnownPicture] = {}
        distinct = dict.fromkeys(digests)
        with self._lock:
            for digest in distinct:
                if (found := self._entries.get(digest)) is not None:
                    self._entries.move_to_end(digest)
                    known[digest] = found
        num_hits = sum(digest in known for digest in digests)
        num_misses = len(distinct) - len(known)
        self._on_lookup(PictureLookup.HIT, num_hits)
        self._on_lookup(PictureLookup.MISS, num_misses)
        self._on_lookup(PictureLookup.SHARED, len(digests) - num_hits - num_misses)
        return known

    def keep_evidence(self, digests: Sequence[bytes], evidence_UC: NDArray[np.float32]) -> None:
        """Hold the evidence of U pictures, float32 (U, C); a row that is not finite is not held."""
        for digest, evidence_C in zip(digests, evidence_UC, strict=True):
            if np.isfinite(evidence_C).all():
                # A copy: a view would keep the evidence of the whole batch in memory.
                self._keep(digest, evidence_C.copy())

    def keep_reason(self, digest: bytes, reason: ImageReason) -> None:
        """Hold why a picture cannot be used; only for what another attempt could not change."""
        self._keep(digest, reason)

    def _keep(self, digest: bytes, known: KnownPicture) -> None:
        with self._lock:
            before = self._entries.pop(digest, None)
            if before is not None:
                self.num_bytes -= _cost(before)
            self._entries[digest] = known
            self.num_bytes += _cost(known)
            while self.num_bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self.num_bytes -= _cost(dropped)


def digest_of(data: bytes) -> bytes:
    """What the file of a picture is known by; about 1 ms for a megabyte.

    Long enough that nobody can make a second file with the digest of another one.
    """
    return hashlib.blake2b(data, digest_size=32).digest()


def _cost(known: KnownPicture) -> int:
    return ENTRY_OVERHEAD_BYTES + (known.nbytes if isinstance(known, np.ndarray) else 0)
