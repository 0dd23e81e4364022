"""A share of the time: work, then rest, so that what runs beside keeps its capacity; pure."""

__all__ = ["DutyCycle"]


class DutyCycle:
    """When the next work may begin: after ``t`` of work it rests ``t * (1 - share) / share``.

    Args:
        share: of the time that is worked, above 0, at most 1.
        per_second: most records a second; None for no limit.
    """

    def __init__(self, share: float, per_second: float | None = None) -> None:
        self._rest_ratio = (1 - share) / share
        self._seconds_each = 1 / per_second if per_second else 0.0
        self._next_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until work may begin, on the clock that ``worked`` is told with."""
        return max(0.0, self._next_at - now)

    def worked(self, num_records: int, began: float, ended: float) -> None:
        """Note a piece of work; a pause that was longer than needed is not made up for."""
        rested_at = ended + (ended - began) * self._rest_ratio
        self._next_at = max(rested_at, began + num_records * self._seconds_each)
