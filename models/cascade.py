"""From when on a text alone is certain: what a version says of answering without looking at the picture.

A product with text and picture is answered by its text alone where the calibrated probability of the text's
best category reaches the threshold, and by both where it does not (Wang et al. 2018, "IDK Cascades: Fast Deep
Learning by Learning not to Overthink"). The threshold is chosen when a version is trained
(training/cascade.py) and kept in its `metrics.json` under `cascade`; a version of an older release has none.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.errors import CascadeError
from models.metrics_entries import entry_of_metrics

__all__ = ["METRICS_KEY", "Cascade", "CascadeScores"]

METRICS_KEY: Final = "cascade"

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class CascadeScores(BaseModel):
    """What a threshold does to rows that have text and picture.

    Attributes:
        rows: how many there are.
        skipped_share: share of them whose text alone is certain; 0 without rows.
        loss: weighted F1 of these rows by both modalities, less that by the cascade; below 0 is a gain.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    rows: int = Field(ge=0)
    skipped_share: _Share
    loss: float = Field(ge=-1, le=1, allow_inf_nan=False)


class Cascade(BaseModel):
    """The cascade of one version.

    Attributes:
        max_loss: weighted F1 that answering by the text alone may cost.
        threshold: probability from which on a text is certain; None where there is none.
        reason: why there is no threshold; None where there is one.
        held_out: on the rows held out, which the threshold is chosen on; None without a threshold.
        out_of_fold: on training rows, by encoders and fusions that never saw them; the same.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    max_loss: _Share
    threshold: _Share | None
    reason: str | None = None
    held_out: CascadeScores | None = None
    out_of_fold: CascadeScores | None = None

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any]) -> Self | None:
        """The cascade in the metrics of a version; None in those of a release that had none.

        Raises:
            BundleError: what stands there is no cascade.
        """
        return entry_of_metrics(cls, metrics, METRICS_KEY)

    @classmethod
    def required(cls, found: Self | None, version: str) -> Self:
        """A cascade that has a threshold.

        Args:
            found: as `of_metrics` gives it.
            version: `name@version`, for the message.

        Raises:
            CascadeError: there is none; the message says why, and what to do.
        """
        if found is not None and found.threshold is not None:
            return found
        reason = "it was trained before there was a cascade" if found is None else found.reason
        raise CascadeError(
            f"{version} has no probability from which on a text alone is certain: {reason}; train it again "
            "(shelver train), or do without the cascade (SHELVER_CASCADE=false)"
        )

    def is_certain(self, probabilities_BC: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each of B texts is certain, bool of length B, by the probabilities of the texts alone.

        Without a threshold none is, and a row with NaN never is.
        """
        if self.threshold is None:
            return np.zeros(len(probabilities_BC), np.bool_)
        return np.asarray(probabilities_BC.max(axis=1, initial=0) >= self.threshold)

    def __str__(self) -> str:
        if self.threshold is None:
            return f"no threshold: {self.reason}"
        shares = [
            f"{scores.skipped_share:.0%} of {scores.rows} {rows} for {scores.loss:.4f} of weighted F1"
            for scores, rows in ((self.held_out, "rows held out"), (self.out_of_fold, "rows out of fold"))
            if scores is not None
        ]
        return (
            f"a text is certain from {self.threshold:.4f} on, which skips pictures of {' and '.join(shares)}"
        )
