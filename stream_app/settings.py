"""All settings of the service, from the components that declare them; the environment is read once.

A component declares its settings beside its code; those of preparation, inference and the lane stand here,
since their modules load torch, which a command line that only wants a broker address must not.
"""

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSettingError

from models.precision import Precision
from schemas.codec import DEFAULT_MAX_MESSAGE_BYTES
from stream_app.batching import BatchSettings
from stream_app.broker_settings import BrokerSettings
from stream_app.console.settings import ConsoleSettings
from stream_app.edge.settings import GatewaySettings
from stream_app.errors import SettingsError
from stream_app.health import HealthSettings
from stream_app.image_fetching import ImageAddressSettings, ImageFetchSettings
from stream_app.logs import LogSettings
from stream_app.progress import ProgressSettings
from stream_app.publishing import PublishSettings
from stream_app.shop_pages.settings import ShopPageSettings
from stream_app.topics import TopicSettings
from stream_app.tracing import TracingSettings

PREFIX = "SHELVER_"
TEST_PREFIX = "SHELVER_TEST_"

MAY_HOLD_SECRETS = ("gateway_api_keys",)
"""Not by what should stand there, but by mistake: a key in place of its digest."""

S = TypeVar("S", bound=BaseSettings)


class PrepareSettings(BaseModel):
    """Limits of one listing, and how many threads prepare."""

    model_config = ConfigDict(frozen=True)

    max_message_bytes: int = Field(
        DEFAULT_MAX_MESSAGE_BYTES,
        ge=1,
        description="Largest body of a listing; a larger one is a dead letter.",
    )
    prepare_threads: int = Field(
        2, ge=1, le=64, description="Threads that decode and resize pictures, beside the one for each batch."
    )


class ModelSettings(BaseModel):
    """Which model serves."""

    model_config = ConfigDict(frozen=True)

    model_repository: str = Field(
        "repository",
        min_length=1,
        description="Folder or fsspec URL of the model repository, such as s3://bucket/prefix.",
    )
    model_cache: str | None = Field(
        None,
        min_length=1,
        description="Folder for copies of versions from a URL; by default shelver/models in the user's cache "
        "folder.",
    )
    model: str = Field(
        "fusion@champion", min_length=1, description="Model to serve: name, name@version or name@alias."
    )


class InferenceSettings(ModelSettings):
    """Which model serves, and where."""

    model_config = ConfigDict(frozen=True)

    device: str = Field("auto", description="Device of the model: auto, cpu, cuda or cuda:N.")
    precision: Precision = Field(
        Precision.AUTO,
        description="What pictures are computed in on a GPU: auto (float16 as long as the golden products "
        "keep their scores), float32, float16 or bfloat16.",
    )
    cascade: bool = Field(
        default=False,
        description="Whether the picture of a listing is skipped where the text alone is certain, by the "
        "threshold that the version was trained with.",
    )
    inference_threads: int | None = Field(
        None, ge=1, description="Threads of one forward pass on a CPU; by default PyTorch's own choice."
    )
    evidence_cache_bytes: int = Field(
        32 * 2**20,
        ge=0,
        description="Bytes of what the model said of texts and pictures, kept so that the same text or file "
        "is not computed again; 0: every one of every listing is computed.",
    )


class ReloadSettings(BaseModel):
    """How a worker follows what the name of its model means."""

    model_config = ConfigDict(frozen=True)

    model_reload_seconds: float = Field(
        5.0,
        gt=0,
        le=3_600,
        description="How often, in seconds, a worker looks whether SHELVER_MODEL means another version by "
        "now, which then serves without a pause. A name with a version, name@3, always means the same.",
    )


class ShadowSettings(BaseModel):
    """Which challenger is compared, and on how much."""

    model_config = ConfigDict(frozen=True)

    shadow_model: str | None = Field(
        None,
        min_length=1,
        description="Model, written as SHELVER_MODEL, that scores a share of the traffic beside the one that "
        "serves: metrics tell how they agree, nothing of it is published.",
    )
    shadow_share: float = Field(
        0.1, gt=0, le=1, description="Share of the products that it scores, the same ones each time."
    )


class LaneSettings(BatchSettings, PrepareSettings, PublishSettings, TopicSettings):
    """Everything a lane of listings can be told."""

    model_config = ConfigDict(frozen=True)

    drain_seconds: float = Field(
        10.0,
        gt=0,
        description="Longest wait, in seconds, for batches in flight at a rebalance or a stop; what is not "
        "done by then is read again.",
    )
    hang_seconds: float = Field(
        120.0,
        gt=0,
        description="Age, in seconds, of a batch in flight above which the worker calls itself dead and "
        "exits; not below SHELVER_PUBLISH_TIMEOUT_SECONDS.",
    )
    event_source: str = Field(
        "/shelver", min_length=1, description="CloudEvents source of what is published."
    )


class WatchingSettings(BaseModel):
    """Over how much drift and accuracy are measured."""

    model_config = ConfigDict(frozen=True)

    drift_window_events: int = Field(
        10_000,
        ge=1_000,
        description="Latest events of this worker that are compared with the rows the model version was"
        " measured on.",
    )
    corrections_per_category: int = Field(
        200,
        ge=1,
        le=10_000,
        description="Latest corrections of each category that its accuracy is told over.",
    )


class ExplanationSettings(BaseModel):
    """How explanations are made: on a thread of their own, beside the categories."""

    model_config = ConfigDict(frozen=True)

    explain_max_batch: int = Field(16, ge=1, le=1024, description="Most requests explained at once.")
    explain_max_delay_ms: float = Field(
        20.0, ge=0, le=10_000, description="Longest wait, in ms, for requests to be explained together."
    )
    explain_max_buffered_bytes: int = Field(
        16 * 2**20, ge=1, description="Bytes of waiting requests above which no more are fetched."
    )
    explain_max_evaluations: int = Field(
        1_000, ge=2, description="Most evaluations of the model for one request; larger wishes are cut."
    )
    explain_recent_listings: int = Field(
        100_000,
        ge=0,
        description="Latest categories that are searched for the event a request names, whose listing is "
        "read again from Kafka, and for what a person corrects.",
    )


class GroupSettings(BaseModel):
    """Which consumer group this worker joins, and how."""

    model_config = ConfigDict(frozen=True)

    group: str = Field("shelver", min_length=1, max_length=249, description="Consumer group of the workers.")
    session_timeout_seconds: float = Field(
        10.0, ge=6, le=300, description="Silence, in seconds, after which the brokers give a worker up."
    )
    commit_interval_seconds: float = Field(0.5, gt=0, le=60, description="How often offsets are committed.")
    max_fetch_bytes: int = Field(
        4 * 2**20, ge=2**16, description="Most bytes fetched from one partition at a time."
    )
    max_prefetch_bytes: int = Field(
        16 * 2**20,
        ge=2**16,
        description="Most bytes fetched ahead from all partitions together; each gets an equal share.",
    )
    max_unpacked_bytes: int = Field(
        32 * 2**20,
        ge=2**16,
        description="Most bytes that a compressed batch of records may unpack to; a larger one is a dead "
        "letter.",
    )
    stop_seconds: float = Field(
        25.0,
        gt=0,
        description="Longest a stop may take before the process ends the hard way; keep it below the "
        "grace period of what runs the worker (30 s in Kubernetes).",
    )


class Settings(
    BrokerSettings,
    GroupSettings,
    LaneSettings,
    ExplanationSettings,
    WatchingSettings,
    ProgressSettings,
    PublishSettings,
    InferenceSettings,
    ReloadSettings,
    ShadowSettings,
    ImageFetchSettings,
    HealthSettings,
    LogSettings,
    TracingSettings,
    BaseSettings,
):
    """Every setting of the worker. Names are flat: ``max_batch`` is ``SHELVER_MAX_BATCH``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )

    @model_validator(mode="after")
    def _waits_for_brokers_before_it_hangs(self) -> Self:
        if self.hang_seconds < self.publish_timeout_seconds:
            raise ValueError(
                f"SHELVER_HANG_SECONDS ({self.hang_seconds:g}) is below SHELVER_PUBLISH_TIMEOUT_SECONDS "
                f"({self.publish_timeout_seconds:g}): a batch that waits for the brokers would be taken for "
                "one that hangs; raise the first or lower the second"
            )
        return self

    @property
    def rebalance_seconds(self) -> float:
        """Longest that the group waits, at a rebalance, for a worker that drains."""
        return max(30.0, self.drain_seconds + 10)


class EdgeSettings(
    BrokerSettings,
    TopicSettings,
    ModelSettings,
    ImageAddressSettings,
    ShopPageSettings,
    GatewaySettings,
    LogSettings,
    TracingSettings,
    BaseSettings,
):
    """Every setting of the gateway; those that it shares with the worker have the same names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )


class ConsoleProcessSettings(ConsoleSettings, LogSettings, BaseSettings):
    """Every setting of the console."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from the environment; ``overrides`` win where they are not None.

    Raises:
        SettingsError: a value is out of bounds, or a ``SHELVER_`` variable names no setting.
    """
    return _load(Settings, environ, overrides)


def load_edge_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> EdgeSettings:
    """As `load_settings`, those of the gateway.

    Raises:
        SettingsError: a value is out of bounds, or a ``SHELVER_`` variable names no setting.
    """
    return _load(EdgeSettings, environ, overrides)


def load_console_settings(
    environ: Mapping[str, str] | None = None, **overrides: Any
) -> ConsoleProcessSettings:
    """As `load_settings`, those of the console.

    Raises:
        SettingsError: a value is out of bounds, or a ``SHELVER_`` variable names no setting.
    """
    return _load(ConsoleProcessSettings, environ, overrides)


def _load(kind: type[S], environ: Mapping[str, str] | None, overrides: Mapping[str, Any]) -> S:
    refuse_unknown_variables(os.environ if environ is None else environ)
    try:
        return kind(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except UnreadableSettingError as error:
        raise SettingsError(_explain_unreadable(error)) from None


def refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """Refuse a misspelt variable: silently ignored it would leave a default in force.

    Raises:
        SettingsError: with the nearest name.
    """
    known = {PREFIX + name.upper() for name in _all_fields()}
    for variable in environ:
        if not variable.upper().startswith(PREFIX) or variable.upper().startswith(TEST_PREFIX):
            continue
        if variable.upper() not in known:
            nearest = difflib.get_close_matches(variable.upper(), known, n=1)
            hint = (
                f"did you mean {nearest[0]}?"
                if nearest
                else "`shelver worker --help`, and that of gateway and console, list all settings."
            )
            raise SettingsError(f"environment variable {variable} is no setting; {hint}")


def _all_fields() -> dict[str, FieldInfo]:
    """Of every process, by name; those that several have are the same."""
    return Settings.model_fields | EdgeSettings.model_fields | ConsoleProcessSettings.model_fields


def _explain_unreadable(error: UnreadableSettingError) -> str:
    field = re.search(r'field "(\w+)"', str(error))
    name = PREFIX + field[1].upper() if field else str(error)
    return f'{name}: should be written as JSON; a list is ["first", "second"]'


def _explain(error: ValidationError) -> str:
    return "; ".join(_explain_one(fault) for fault in error.errors())


def _explain_one(fault: Any) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        # The settings contradict each other; the message names them, and the input would be all of them.
        return message
    name = str(fault["loc"][0])
    shown = "" if _is_secret(name) else f" (it is {str(fault.get('input'))[:80]!r})"
    return f"{PREFIX}{name.upper()}: {message}{shown}"


def _is_secret(name: str) -> bool:
    field = _all_fields().get(name)
    if name in MAY_HOLD_SECRETS:
        return True
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))
