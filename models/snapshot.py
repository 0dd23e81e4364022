"""What a version assigned to rows that it did not learn from: what serving is compared with later.

Four features of a product and its answer are counted in bins: the predicted category, the confidence (the
probability of that category), the length of the text as received and whether a picture is used. Training
counts the rows held out and keeps the counts in `metrics.json` under `snapshot`; serving counts what it
assigns in the same bins, by the same code. How far two counts are apart is told by the population stability
index (Siddiqi 2006, "Credit Risk Scorecards", chapter 7)

    PSI = sum over K bins of (p_k - q_k) ln(p_k / q_k)

with p and q the shares of the bins; it is the divergence of Jeffreys (1946). By custom less than 0.1 is no
change worth a look, and more than 0.25 is one that matters. Every bin counts half a row more than it has
(Krichevsky and Trofimov 1981), so that an empty one has no infinite weight.

Few rows differ by chance alone. Of two samples of n and m rows from one distribution the PSI is about
(1/n + 1/m) times a chi-squared variable of K - 1 degrees of freedom (Yurdakul and Naranjo 2020, "Statistical
properties of the population stability index"), so its mean, (K - 1)(1/n + 1/m), is taken off, down to 0, and
the customary limits hold for small samples too.

Shape letters: B products, C categories, K bins.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import BundleError
from models.metrics_entries import entry_of_metrics

__all__ = ["METRICS_KEY", "MIN_ROWS", "Counts", "Feature", "Observed", "Snapshot", "psi"]

METRICS_KEY: Final = "snapshot"
MIN_ROWS: Final = 50
"""Fewest rows held out that a snapshot is taken of."""

_NUM_BINS: Final = 10
_RARE_ROWS: Final = 5
"""Categories with fewer rows share one bin: what is told of each alone would be chance."""
_SMOOTHING: Final = 0.5
_CONFIDENCE_DECIMALS: Final = 4
"""Confidences are compared rounded: in the last digits they differ between devices and batches."""

_Count = Annotated[int, Field(ge=0)]

Counts = Mapping["Feature", NDArray[np.int64]]
"""Rows in each bin of each feature."""


class Feature(StrEnum):
    """What is watched of a product and its answer."""

    CATEGORY = "category"
    CONFIDENCE = "confidence"
    TEXT_LENGTH = "text_length"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """The features of B products.

    Attributes:
        category_B: int64, column of the most probable category.
        confidence_B: float64, its probability, rounded to 4 decimals.
        text_length_B: int64, code points of title and description as received.
        has_image_B: bool, whether there is a picture that is, or could be, used.
    """

    category_B: NDArray[np.int64]
    confidence_B: NDArray[np.float64]
    text_length_B: NDArray[np.int64]
    has_image_B: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        probabilities_BC: NDArray[np.float32],
        texts: Iterable[tuple[str, str | None]],
        has_image_B: NDArray[np.bool_],
    ) -> Self:
        """Features of products and their scores.

        Args:
            probabilities_BC: finite, calibrated.
            texts: title and description of each as received; None counts as empty.
            has_image_B: whether there is a picture of each.
        """
        category_B = probabilities_BC.argmax(axis=1)
        confidence_B = np.take_along_axis(probabilities_BC, category_B[:, None], axis=1)[:, 0]
        lengths = [len(title) + len(description or "") for title, description in texts]
        return cls(
            category_B=category_B,
            confidence_B=confidence_B.astype(np.float64).round(_CONFIDENCE_DECIMALS),
            text_length_B=np.array(lengths, np.int64),
            has_image_B=has_image_B,
        )


class Histogram(BaseModel):
    """Rows by a number: bin k holds those from edge k - 1 on and below edge k; the outer ones are open.

    Attributes:
        edges: K - 1 rising numbers.
        counts: rows in each of the K bins.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    edges: list[Annotated[float, Field(allow_inf_nan=False)]]
    counts: list[_Count]

    @model_validator(mode="after")
    def _bins_lie_between_edges(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges make {len(self.edges) + 1} bins")
        if any(left >= right for left, right in pairwise(self.edges)):
            raise ValueError("edges should rise")
        return self

    @classmethod
    def of(cls, values_B: NDArray[Any]) -> Self:
        """Up to 10 bins of about as many values each; fewer where values repeat. At least one value."""
        shares = np.arange(1, _NUM_BINS) / _NUM_BINS
        edges = np.unique(np.quantile(values_B, shares, method="higher")).astype(np.float64)
        return cls(edges=edges.tolist(), counts=_histogram(edges, values_B).tolist())

    def count(self, values_B: NDArray[Any]) -> NDArray[np.int64]:
        """How many of other values are in each bin."""
        return _histogram(np.asarray(self.edges), values_B)


class Snapshot(BaseModel):
    """The features of the rows held out, in bins.

    Attributes:
        rows: how many rows.
        category: rows by predicted category, in the order of the label set.
        confidence: rows by the probability of that category.
        text_length: rows by code points of title and description.
        image: rows without a picture, and rows with one.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    rows: int = Field(ge=1)
    category: list[_Count]
    confidence: Histogram
    text_length: Histogram
    image: list[_Count] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def _every_feature_counts_every_row(self) -> Self:
        for feature, counts in self.counts().items():
            if counts.sum() != self.rows:
                raise ValueError(f"{feature} counts {counts.sum()} of {self.rows} rows")
        return self

    @classmethod
    def of(cls, observed: Observed, num_categories: int) -> Self | None:
        """The snapshot of rows that nothing was fitted on; None of fewer than `MIN_ROWS`."""
        num_rows = len(observed.category_B)
        if num_rows < MIN_ROWS:
            return None
        return cls(
            rows=num_rows,
            category=np.bincount(observed.category_B, minlength=num_categories).tolist(),
            confidence=Histogram.of(observed.confidence_B),
            text_length=Histogram.of(observed.text_length_B),
            image=_by_image(observed.has_image_B).tolist(),
        )

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], num_categories: int) -> Self | None:
        """The snapshot in the metrics of a version; None where there is none.

        Raises:
            BundleError: what stands there is no snapshot, or one of another number of categories.
        """
        found = entry_of_metrics(cls, metrics, METRICS_KEY)
        if found is not None and len(found.category) != num_categories:
            raise BundleError(
                f"metrics.json describes no snapshot: {METRICS_KEY}.category counts {len(found.category)} "
                f"categories, the version has {num_categories}"
            )
        return found

    def counts(self) -> Counts:
        """The counts of the snapshot itself."""
        return {
            Feature.CATEGORY: np.asarray(self.category, np.int64),
            Feature.CONFIDENCE: np.asarray(self.confidence.counts, np.int64),
            Feature.TEXT_LENGTH: np.asarray(self.text_length.counts, np.int64),
            Feature.IMAGE: np.asarray(self.image, np.int64),
        }

    def count(self, observed: Observed) -> Counts:
        """How many of other products are in each bin."""
        return {
            Feature.CATEGORY: np.bincount(observed.category_B, minlength=len(self.category)),
            Feature.CONFIDENCE: self.confidence.count(observed.confidence_B),
            Feature.TEXT_LENGTH: self.text_length.count(observed.text_length_B),
            Feature.IMAGE: _by_image(observed.has_image_B),
        }

    def drift(self, feature: Feature, served_K: NDArray[np.int64]) -> float:
        """How far what is served is from the snapshot: the PSI, less what chance gives; 0 or more.

        Args:
            feature: which one.
            served_K: rows in each of its bins, as `count` gives them, at least one in all.
        """
        expected_K = self.counts()[feature]
        if feature is Feature.CATEGORY:
            expected_K, served_K = _with_rare_ones_together(expected_K, served_K)
        chance = (len(expected_K) - 1) * (1 / self.rows + 1 / served_K.sum())
        return max(0.0, psi(expected_K, served_K) - float(chance))


def psi(expected_K: NDArray[np.int64], served_K: NDArray[np.int64]) -> float:
    """The population stability index of two counts in the same bins, smoothed as the module says.

    It is symmetric, 0 for equal shares and finite for any counts.
    """
    expected = (expected_K + _SMOOTHING) / (expected_K.sum() + _SMOOTHING * len(expected_K))
    served = (served_K + _SMOOTHING) / (served_K.sum() + _SMOOTHING * len(served_K))
    return float(((expected - served) * np.log(expected / served)).sum())


def _with_rare_ones_together(
    expected_K: NDArray[np.int64], served_K: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    is_rare_K = expected_K < _RARE_ROWS
    both = (np.append(each[~is_rare_K], each[is_rare_K].sum()) for each in (expected_K, served_K))
    return next(both), next(both)


def _histogram(edges: NDArray[np.float64], values_B: NDArray[Any]) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, values_B, side="right"), minlength=len(edges) + 1)


def _by_image(has_image_B: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(has_image_B, minlength=2)
