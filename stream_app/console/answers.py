"""What the gateway answers, as far as the console reads it; what it does not know is left aside."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.assignments import AssignedCategory, CategoryAssigned, Modalities, ModelReference
from schemas.base import CategoryCode
from schemas.explanations import CategoryExplained

__all__ = [
    "Categories",
    "Category",
    "Correction",
    "ExplanationAnswer",
    "Limits",
    "Live",
    "LiveAssignment",
    "LiveDeadLetter",
    "Problem",
    "ProductAnswer",
    "ProductAnswers",
    "Promotion",
    "ShopProduct",
    "TrainingRun",
    "TrainingRuns",
    "Version",
    "VersionDetail",
    "Versions",
]

PENDING: Final = "pending"
ASSIGNED: Final = "assigned"
RUNNING: Final = "running"

_FRAME_BYTES: Final = 64 * 1024
"""Of a body or a record, for what is beside the picture in it."""


class Answer(BaseModel):
    """Of any kind."""

    model_config = ConfigDict(frozen=True)


class Problem(Answer):
    """What went wrong, as RFC 9457 has it."""

    type: str = ""
    title: str = ""
    status: int = 0
    detail: str = ""
    request_id: str | None = None
    stage: str | None = None
    reason: str | None = None

    @property
    def kind(self) -> str:
        """The last part of the type, such as `too-large`."""
        return self.type.rpartition(":")[2]


class Limits(Answer):
    """How much the gateway takes."""

    max_body_bytes: int = Field(ge=1)
    max_record_bytes: int | None = None
    max_products: int = Field(ge=1)
    deadline_seconds: float
    max_wait_seconds: float

    @property
    def max_picture_bytes(self) -> int:
        """Of a file that is sent in a form, and goes on to Kafka in base64."""
        taken = self.max_body_bytes - _FRAME_BYTES
        if self.max_record_bytes is not None:
            taken = min(taken, (self.max_record_bytes - _FRAME_BYTES) // 4 * 3)
        return max(0, taken)


class ProductAnswer(Answer):
    """What became of a product."""

    event_id: str | None = None
    product_id: str | None = None
    status: str
    assigned: CategoryAssigned | None = None
    explained: CategoryExplained | None = None
    problem: Problem | None = None


class ProductAnswers(Answer):
    """What became of several, in the order they were sent."""

    products: list[ProductAnswer]


class ExplanationAnswer(Answer):
    """What became of a question."""

    request_id: str
    status: str
    explained: CategoryExplained | None = None


class Correction(Answer):
    """A correction that the brokers have."""

    correction_id: str
    product_id: str


class Category(Answer):
    """A category that can be chosen."""

    code: CategoryCode
    label: str


class Categories(Answer):
    """Those of the version that serves."""

    model: ModelReference
    categories: list[Category]


class Version(Answer):
    """A version in short."""

    name: str
    version: str
    aliases: list[str]
    created_at: str | None = None
    rows: int | None = None
    weighted_f1: float | None = None
    error: str | None = None


class Versions(Answer):
    """Every version there is."""

    serving: str
    versions: list[Version]


class VersionDetail(Answer):
    """All that a version says of itself."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    version: str
    card: str | None = None
    metrics: dict[str, Any] = {}


class Promotion(Answer):
    """What an alias means now."""

    name: str
    alias: str
    version: str
    previous_version: str | None = None
    comparison: dict[str, Any] | None = None


class Fit(Answer):
    """One network of a training run."""

    name: str
    epoch: int
    done: bool
    metrics: list[dict[str, float]] = []


class TrainingRun(Answer):
    """A training run; `fits` only where it was asked for alone."""

    id: str
    catalogue: str
    settings: dict[str, Any] = {}
    state: str
    started_at: datetime
    ended_at: datetime | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    fits: list[Fit] = []


class TrainingRuns(Answer):
    """Runs, newest first, and what another may learn from."""

    catalogues: list[str]
    runs: list[TrainingRun]


class LiveAssignment(Answer):
    """A category that came out."""

    sequence: int
    at: datetime
    event_id: str
    product_id: str
    category: AssignedCategory
    modalities: Modalities
    image_reason: str | None = None
    model: ModelReference


class LiveDeadLetter(Answer):
    """An event that could not be served."""

    sequence: int
    at: datetime
    event_id: str | None = None
    product_id: str
    stage: str
    reason: str
    message: str
    source: str


class LiveCategory(Answer):
    """How often a category came out lately."""

    category: AssignedCategory
    count: int


class Live(Answer):
    """What streams through."""

    sequence: int
    assigned: int
    explained: int
    dead_letters: int
    assigned_per_second: float
    dead_letters_per_second: float
    categories: list[LiveCategory]
    latest: list[LiveAssignment]
    failed: list[LiveDeadLetter]


class ShopProduct(Answer):
    """A product as a shop's page shows it."""

    title: str
    description: str | None = None
    image_urls: list[str] = []
