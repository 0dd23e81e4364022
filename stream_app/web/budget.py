"""How many bytes may be fetched together (pure)."""

from __future__ import annotations

from stream_app.web.errors import FetchError, FetchReason

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
            FetchError: `too_large`; they are not counted.
        """
        if self.num_bytes + num_bytes > self._max_bytes:
            raise FetchError(
                FetchReason.TOO_LARGE, f"what is fetched together has more than {self._max_bytes} bytes"
            )
        self.num_bytes += num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Take bytes off again that are not held any more."""
        self.num_bytes -= num_bytes
