"""Whether a version may take the place of another: not when it scores worse on the same rows.

The same rows are those held out, where both versions were measured on them, or rows of a catalogue that
neither has learnt from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from models.errors import PromotionError
from models.repository import ModelLocation
from models.version_files import read_manifest, read_metrics, read_split
from schemas.catalogue_rows import CatalogueRow

__all__ = ["DEFAULT_TOLERANCE", "MIN_ROWS", "Comparison", "check_not_worse", "compare_held_out", "compare_on"]

DEFAULT_TOLERANCE: Final = 0.005
"""Weighted F1 that a version may lack: about what two runs with other seeds differ by."""
MIN_ROWS: Final = 50
"""Fewer rows tell nothing about two versions."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Weighted F1, 0 to 1, of two versions on the same rows.

    Attributes:
        measured_on: what the rows are.
        rows: how many.
        weighted_f1: of the version that shall be promoted.
        previous_weighted_f1: of the one that it would replace.
    """

    measured_on: str
    rows: int
    weighted_f1: float
    previous_weighted_f1: float

    def __str__(self) -> str:
        return (
            f"weighted F1 {self.weighted_f1:.4f}, before it was {self.previous_weighted_f1:.4f}, "
            f"on {self.rows} rows ({self.measured_on})"
        )

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def compare_held_out(version: ModelLocation, previous: ModelLocation) -> Comparison | None:
    """What both versions scored on the rows held out; None where these were not the same, or not measured.

    Only manifests and metrics are read: an outline is enough.

    Raises:
        BundleError: a manifest or metrics are damaged.
    """
    held_out = [_held_out(read_manifest(each.folder).data_fingerprint) for each in (version, previous)]
    if not any(mine == theirs for mine, theirs in zip(*held_out, strict=True) if mine is not None):
        return None
    metrics = [read_metrics(each.folder) for each in (version, previous)]
    scores = [each.get("weighted_f1") for each in metrics]
    rows = [each.get("rows") for each in metrics]
    if rows[0] != rows[1] or not isinstance(rows[0], int):
        return None
    if not isinstance(scores[0], float) or not isinstance(scores[1], float):
        return None
    return Comparison("rows held out from both", rows[0], scores[0], scores[1])


def compare_on(
    data: Path, version: ModelLocation, previous: ModelLocation, device: str = "auto"
) -> Comparison:
    """Score both versions on the labelled rows of a catalogue that neither has learnt from.

    Args:
        data: the catalogue; rows of every split are taken.
        version: the version that shall be promoted.
        previous: the one that it would replace.
        device: where to score.

    Raises:
        CatalogueError: the catalogue cannot be read, or has no labelled row.
        BundleError: a version is damaged.
        PromotionError: a version does not say what it has learnt from, or too few rows are left.
        DeviceError: there is no such device.
    """
    from models.catalogue_scoring import ALL_ROWS, labelled_rows

    learnt = _learnt_by(version) | _learnt_by(previous)
    rows = [row for row in labelled_rows(data, split=ALL_ROWS) if row.product_id not in learnt]
    if len(rows) < MIN_ROWS:
        raise PromotionError(
            f"{data} has {len(rows)} labelled rows that neither {version} nor {previous} has learnt from, at "
            f"least {MIN_ROWS} are needed to compare them: give another --data, or promote with --force"
        )
    return Comparison(
        str(data), len(rows), _weighted_f1(version, rows, device), _weighted_f1(previous, rows, device)
    )


def check_not_worse(comparison: Comparison, version: str, previous: str, tolerance: float) -> None:
    """Refuse a version that scores worse by more than the tolerance.

    Raises:
        PromotionError: it does.
    """
    # .895 is not worse than .9 by more than .005, whatever floats make of it.
    if comparison.weighted_f1 < comparison.previous_weighted_f1 - tolerance - 1e-9:
        raise PromotionError(
            f"{version} scores worse than {previous}: weighted F1 {comparison.weighted_f1:.4f} instead of "
            f"{comparison.previous_weighted_f1:.4f} on {comparison.rows} rows ({comparison.measured_on}); "
            f"{tolerance:g} less is allowed, more by --tolerance, and anything by --force"
        )


def _held_out(fingerprint: Mapping[str, Any]) -> tuple[Any, Any]:
    """Digest of the rows held out, and of all rows, which are older: None where there is none."""
    return fingerprint.get("validation_sha256"), fingerprint.get("sha256")


def _learnt_by(version: ModelLocation) -> frozenset[str]:
    split = read_split(version.folder)
    if "train" not in split:
        raise PromotionError(
            f"{version} does not say which rows it has learnt from, so there are none to compare it on; "
            "promote without a comparison with --force"
        )
    return frozenset(split["train"])


def _weighted_f1(version: ModelLocation, rows: Sequence[CatalogueRow], device: str) -> float:
    from models.catalogue_scoring import score_rows
    from models.evaluation import evaluate
    from models.runtime import Classifier

    classifier = Classifier.load(version.folder, device)
    scored = score_rows(classifier, rows)
    truth_B = classifier.labels.indices([str(row.category) for row in rows])
    return evaluate(scored.probabilities_BC, truth_B, classifier.labels).weighted_f1
