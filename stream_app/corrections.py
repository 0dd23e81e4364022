"""What people say of categories, beside what was assigned: who agrees, and how right each category is."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from models.labels import Code, parse_code
from schemas.corrections import CategoryCorrected
from stream_app.assignment_index import Assigned

__all__ = ["CorrectionOutcome", "RollingAccuracy", "Verdict", "verdict"]


class CorrectionOutcome(StrEnum):
    """What a correction says of an assignment."""

    CONFIRMED = "confirmed"
    CORRECTED = "corrected"
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a correction says, and of which category; None where it is not known what was assigned."""

    outcome: CorrectionOutcome
    assigned: Code | None = None


def verdict(correction: CategoryCorrected, assigned: Assigned | None) -> Verdict:
    """Compare a correction with the assignment it is about; a code is the same as a number and as text."""
    if assigned is None:
        return Verdict(CorrectionOutcome.UNKNOWN)
    is_right = parse_code(correction.category.code) == parse_code(assigned.code)
    return Verdict(
        CorrectionOutcome.CONFIRMED if is_right else CorrectionOutcome.CORRECTED, parse_code(assigned.code)
    )


class RollingAccuracy:
    """How often people agree with each category that was assigned, over its latest corrections.

    Args:
        window: how many corrections of a category count.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._agreed: dict[Code, deque[bool]] = {}

    def add(self, verdicts: Iterable[Verdict], codes: Sequence[Code]) -> None:
        """Take verdicts in, in order.

        Args:
            verdicts: those that know no assignment say nothing.
            codes: the categories that are followed; of others nothing is kept.
        """
        self._agreed = {code: self._agreed[code] for code in codes if code in self._agreed}
        followed = frozenset(codes)
        for each in verdicts:
            if each.assigned is not None and each.assigned in followed:
                agreed = self._agreed.setdefault(each.assigned, deque(maxlen=self._window))
                agreed.append(each.outcome is CorrectionOutcome.CONFIRMED)

    def ratios(self) -> dict[Code, float]:
        """The share of agreement of each category that has a correction, 0 to 1."""
        return {code: sum(agreed) / len(agreed) for code, agreed in self._agreed.items()}
