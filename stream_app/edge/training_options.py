"""What a client may say of a training run and of a promotion: known settings with bounds, and no paths."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from stream_app.errors import SettingsError

__all__ = ["Promote", "StartTraining", "TrainingOptions", "overrides_of", "quoted", "settings_of"]

Epochs = Annotated[int | None, Field(ge=1, le=200)]
LearningRate = Annotated[float | None, Field(gt=0, le=1)]
BatchSize = Annotated[int | None, Field(ge=1, le=4_096)]


class Architecture(StrEnum):
    """What is trained: both encoders and their fusion, or one encoder."""

    FUSION = "fusion"
    TEXT = "text"
    IMAGE = "image"


class TextKind(StrEnum):
    """Text encoders that are trained without anything from elsewhere."""

    NGRAM_BAG = "ngram_bag"
    EMBEDDING_BAG = "embedding_bag"


class ImageKind(StrEnum):
    """Image encoders."""

    MOBILENET_V2 = "mobilenet_v2"
    FROZEN = "frozen"
    RESNET18 = "resnet18"


class Experiment(StrEnum):
    """Configurations as a whole."""

    DEMO = "demo"


class PromotePolicy(StrEnum):
    """Whether the new version becomes the champion: where there is none yet, or never."""

    AUTO = "auto"
    NEVER = "never"


def _option(override: str, description: str) -> Any:
    return Field(default=None, alias=override, description=description)


class TrainingOptions(BaseModel):
    """Settings of a run, by their names in the configuration; what is left out is as it stands there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: Experiment | None = _option("experiment", "A configuration as a whole.")
    model: Architecture | None = _option("model", "What is trained.")
    text: TextKind | None = _option("text", "Text encoder.")
    image: ImageKind | None = _option("image", "Image encoder.")
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = _option(
        "name", "Name of the model."
    )
    seed: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = _option("seed", "Of everything drawn.")
    promote: PromotePolicy | None = _option("promote", "Whether the version becomes the champion.")
    limit: Annotated[int | None, Field(ge=1)] = _option("data.limit", "Most rows that are taken.")
    text_epochs: Epochs = _option("text.epochs", "Passes over the texts.")
    text_batch_size: BatchSize = _option("text.batch_size", "Rows a step.")
    text_learning_rate: LearningRate = _option("text.learning_rate", "At the first step.")
    image_epochs: Epochs = _option("image.epochs", "Passes over the pictures.")
    image_batch_size: BatchSize = _option("image.batch_size", "Rows a step.")
    image_learning_rate: LearningRate = _option("image.learning_rate", "At the first step.")


class StartTraining(BaseModel):
    """A training run to start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalogue: str = Field(min_length=1, max_length=100, description="What it learns from, by its name here.")
    settings: TrainingOptions = Field(
        default=TrainingOptions(), description="Settings by their names, such as `text.epochs`."
    )


class Promote(BaseModel):
    """What an alias shall mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="The version, or an alias of it.")
    force: bool = Field(default=False, description="Without a comparison with the version it replaces.")


def settings_of(options: TrainingOptions) -> dict[str, Any]:
    """The options that were given, by their names in the configuration."""
    told: dict[str, Any] = options.model_dump(mode="json", by_alias=True, exclude_none=True)
    return told


def overrides_of(options: TrainingOptions) -> list[str]:
    """The options as Hydra overrides; a value is a number, a name or of a fixed set, and needs no quotes."""
    return [f"{name}={value}" for name, value in settings_of(options).items()]


def quoted(name: str, value: str | None) -> list[str]:
    """The override that sets a text of the operator's, such as a path; none where there is no value.

    Raises:
        SettingsError: it holds a quote or a backslash, which Hydra's grammar has no safe spelling for.
    """
    if value is None:
        return []
    if any(sign in value for sign in "'\"\\\n\r$"):
        raise SettingsError(
            f"{value[:80]!r} cannot be told to a training run: it holds a quote, $ or backslash"
        )
    return [f"{name}='{value}'"]
