"""Pictures that were fetched a short while ago, by address; each content is held once (pure)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ImageCache", "ImageCacheSettings", "ImageLookup"]

ADDRESS_OVERHEAD_BYTES = 400
"""What Python keeps around an address, so that many short addresses of one picture are bounded as well."""


class ImageLookup(StrEnum):
    """Where a picture behind an address came from, or whether anybody had to be asked."""

    HIT = "hit"
    """It was fetched a short while ago."""
    SHARED = "shared"
    """It is being fetched for another listing; both get what comes."""
    MISS = "miss"
    """It is fetched."""


class ImageCacheSettings(BaseModel):
    """How much of what was fetched is kept, and how long."""

    model_config = ConfigDict(frozen=True)

    image_cache_bytes: int = Field(
        64 * 2**20,
        ge=0,
        description="Bytes of fetched pictures that are kept for their next listing; 0: none.",
    )
    image_cache_seconds: float = Field(
        300.0,
        ge=0,
        description="Age, in seconds, above which a kept picture is fetched again; 0: none is kept.",
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: bytes
    fetched_at: float


class ImageCache:
    """The latest pictures by address, bounded in bytes and in age; used by one thread.

    What was looked up longest ago goes first. Two addresses of the same content share its bytes.

    Args:
        settings: the bounds.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, settings: ImageCacheSettings, *, clock: Callable[[], float]) -> None:
        self._max_bytes = settings.image_cache_bytes
        self._max_age_seconds = settings.image_cache_seconds
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._contents: dict[bytes, bytes] = {}
        self._num_addresses: dict[bytes, int] = {}
        self.num_bytes = 0

    def get(self, address: str) -> bytes | None:
        """The picture that was put there, if it is still held and not too old."""
        entry = self._entries.get(address)
        if entry is None:
            return None
        if self._clock() - entry.fetched_at >= self._max_age_seconds:
            self._drop(address)
            return None
        self._entries.move_to_end(address)
        return self._contents[entry.digest]

    def put(self, address: str, content: bytes) -> None:
        """Hold a picture; the time is that of a hash over its bytes."""
        if _cost(address) + len(content) > self._max_bytes or self._max_age_seconds == 0:
            return
        if address in self._entries:
            self._drop(address)
        digest = hashlib.blake2b(content, digest_size=32).digest()
        self._entries[address] = _Entry(digest, self._clock())
        self.num_bytes += _cost(address)
        if digest not in self._contents:
            self._contents[digest] = content
            self.num_bytes += len(content)
        self._num_addresses[digest] = self._num_addresses.get(digest, 0) + 1
        while self.num_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, address: str) -> None:
        digest = self._entries.pop(address).digest
        self.num_bytes -= _cost(address)
        self._num_addresses[digest] -= 1
        if not self._num_addresses[digest]:
            del self._num_addresses[digest]
            self.num_bytes -= len(self._contents.pop(digest))


def _cost(address: str) -> int:
    return len(address) + ADDRESS_OVERHEAD_BYTES
