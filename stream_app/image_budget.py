"""How many bytes the pictures of one batch may take together (pure)."""

from __future__ import annotations

from models.errors import ImageError, ImageReason

__all__ = ["ByteBudget"]


class ByteBudget:
    """Counts bytes that are read and held; used by one thread.

    Args:
        max_bytes: how many there may be at a time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.num_bytes = 0

    def take(self, num_bytes: int) -> None:
        """Count bytes that have come.

        Raises:
            ImageError: `too_large`; they are not counted.
        """
        if self.num_bytes + num_bytes > self._max_bytes:
            raise ImageError(
                ImageReason.TOO_LARGE, f"the pictures of its batch have more than {self._max_bytes} bytes"
            )
        self.num_bytes += num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Take bytes off again that are not held any more."""
        self.num_bytes -= num_bytes
