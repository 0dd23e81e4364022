"""What the labels of metrics may be, and nothing else: fixed sets, so that traffic adds no series."""

from enum import StrEnum

MAX_CATEGORIES = 100
"""Categories with a series of their own, the first ones of a model."""

PICTURE_USED = "used"
PICTURE_SKIPPED = "skipped"
"""What became of a wanted picture, beside the reasons why it is not used."""


class RecordKind(StrEnum):
    """What a record on the listings topic was."""

    LISTING = "listing"
    DELISTING = "delisting"


class PipelineStep(StrEnum):
    """A timed part of the way of a batch."""

    DECODE = "decode"
    CASCADE = "cascade"
    FETCH_IMAGES = "fetch_images"
    PREPARE = "prepare"
    INFERENCE = "inference"
    PUBLISH = "publish"
    EXPLAIN = "explain"
    CORRECT = "correct"


class LaneKind(StrEnum):
    """What the records of a topic that is read are."""

    LISTINGS = "listings"
    EXPLANATIONS = "explanations"
    CORRECTIONS = "corrections"


class GpuMemory(StrEnum):
    """Memory of the GPU that the model is on."""

    USED = "used"
    TOTAL = "total"


class CommitOutcome(StrEnum):
    """How an offset commit ended."""

    COMMITTED = "committed"
    FAILED = "failed"


class ModelRole(StrEnum):
    """What a version is loaded for."""

    SERVING = "serving"
    SHADOW = "shadow"


class ReloadOutcome(StrEnum):
    """What became of a version that was to take another's place."""

    SWAPPED = "swapped"
    REFUSED = "refused"


class ShadowOutcome(StrEnum):
    """What a challenger made of an event that was shown to it."""

    SAME = "same"
    DIFFERENT = "different"
    DROPPED = "dropped"
    FAILED = "failed"


class AgeFault(StrEnum):
    """Why a record's age was kept out of the latency histogram."""

    NEGATIVE = "negative"
    OVER_ONE_DAY = "over_one_day"
