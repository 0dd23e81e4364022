"""What the encoders have said of the latest texts and pictures, by content: nothing is computed twice."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageReason

__all__ = [
    "EvidenceCache",
    "EvidenceLookup",
    "Known",
    "KnownEvidence",
    "Modality",
    "digest_of_picture",
    "digest_of_text",
]

ENTRY_OVERHEAD_BYTES = 400
"""What Python keeps around an entry, its digest included."""

_DIGEST_BYTES = 32
"""Long enough that nobody can make a second content with the digest of another one."""


class Modality(StrEnum):
    """What an encoder reads."""

    TEXT = "text"
    IMAGE = "image"


class EvidenceLookup(StrEnum):
    """What was done about one text or one picture of a batch."""

    HIT = "hit"
    """An earlier batch had the same; it is neither prepared nor computed."""
    SHARED = "shared"
    """Another product of the batch has the same, they share the work."""
    MISS = "miss"
    """It is prepared and computed."""


class KnownEvidence(NamedTuple):
    """What an encoder has said of one text or of one picture.

    Attributes:
        evidence_C: float32.
        present: of a text, as in `TextFeatures`; of a picture True.
        truncated: of a text, as in `TextFeatures`; of a picture False.
    """

    evidence_C: NDArray[np.float32]
    present: bool
    truncated: bool


_PICTURE_FLAGS = (True, False)

Known = KnownEvidence | ImageReason
"""Evidence, or why a picture can never be used."""


class EvidenceCache:
    """The latest evidence by a hash of what it is of, bounded in bytes; any number of threads may share one.

    Belongs to one loaded version: another says something else about the same text. What was looked up
    longest ago goes first, text or picture.

    Args:
        max_bytes: of evidence with everything around it.
        on_lookup: told what was done about how many texts or pictures of a batch, in the thread that asks.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        on_lookup: Callable[[Modality, EvidenceLookup, int], None] = lambda _modality, _what, _num: None,
    ) -> None:
        self._max_bytes = max_bytes
        self._on_lookup = on_lookup
        self._entries: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def look_up(self, modality: Modality, digests: Sequence[bytes]) -> Mapping[bytes, Known]:
        """What is known of the texts, or of the pictures, of one batch, repeats allowed.

        Args:
            modality: which of the two.
            digests: as `digest_of_text` or `digest_of_picture` gives them.

        Returns:
            By digest; the unknown ones are left out.
        """
        known: dict[bytes, Known] = {}
        distinct = dict.fromkeys(digests)
        with self._lock:
            for digest in distinct:
                if (found := self._entries.get(digest)) is not None:
                    self._entries.move_to_end(digest)
                    known[digest] = found
        num_hits = sum(map(known.__contains__, digests))
        num_misses = len(distinct) - len(known)
        self._on_lookup(modality, EvidenceLookup.HIT, num_hits)
        self._on_lookup(modality, EvidenceLookup.MISS, num_misses)
        self._on_lookup(modality, EvidenceLookup.SHARED, len(digests) - num_hits - num_misses)
        return known

    def keep_evidence(
        self,
        digests: Sequence[bytes],
        evidence_UC: NDArray[np.float32],
        flags_U: Iterable[tuple[bool, bool]] | None = None,
    ) -> None:
        """Hold the evidence of U texts or pictures; a row that is not finite is not held.

        Args:
            digests: U of them.
            evidence_UC: float32.
            flags_U: of texts, whether each is present and whether it is truncated.
        """
        flags_U = flags_U or repeat(_PICTURE_FLAGS, len(digests))
        finite_U = np.asarray(np.isfinite(evidence_UC).all(axis=1)).tolist()
        # Copies: a view would keep the evidence of the whole batch in memory.
        entries = [
            (digest, KnownEvidence(evidence_C.copy(), *flags))
            for digest, evidence_C, flags, finite in zip(digests, evidence_UC, flags_U, finite_U, strict=True)
            if finite
        ]
        with self._lock:
            for digest, known in entries:
                self._put(digest, known)

    def keep_reason(self, digest: bytes, reason: ImageReason) -> None:
        """Hold why a picture cannot be used; only for what another attempt could not change."""
        with self._lock:
            self._put(digest, reason)

    def _put(self, digest: bytes, known: Known) -> None:
        before = self._entries.pop(digest, None)
        if before is not None:
            self.num_bytes -= _cost(before)
        self._entries[digest] = known
        self.num_bytes += _cost(known)
        while self.num_bytes > self._max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self.num_bytes -= _cost(dropped)


def digest_of_picture(data: bytes) -> bytes:
    """What the file of a picture is known by; about 1 ms for a megabyte."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, person=b"image").digest()


def digest_of_text(title: str, description: str) -> bytes:
    """What a text is known by: no two pairs have the same bytes, however they are split or coded."""
    # No UTF-8 has the byte 0xFF, and half a surrogate pair, which JSON may hold, has bytes of its own.
    both = b"%b\xff%b" % (title.encode(errors="surrogatepass"), description.encode(errors="surrogatepass"))
    return hashlib.blake2b(both, digest_size=_DIGEST_BYTES, person=b"text").digest()


def _cost(known: Known) -> int:
    return ENTRY_OVERHEAD_BYTES + (known.evidence_C.nbytes if isinstance(known, KnownEvidence) else 0)
