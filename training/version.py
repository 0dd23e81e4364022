"""What a run ends with: a version in the repository, with its scores, its split and its card."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from models.bundle import BundleMetadata, library_versions, write_bundle
from models.cascade import METRICS_KEY as CASCADE_KEY
from models.cascade import Cascade
from models.evaluation import Evaluation
from models.fusion import FusionNetwork
from models.golden import pick_golden_products
from models.image.base import ImageEncoder
from models.inputs import Product
from models.labels import LabelSet
from models.model_card import CardFacts, model_card
from models.repository import ModelLocation, ModelRepository
from models.snapshot import METRICS_KEY as SNAPSHOT_KEY
from models.snapshot import Snapshot
from models.stores.base import without_secrets
from models.text.base import TextEncoder
from training.fitting import Fitter
from training.scoring import HeldOutScores
from training.stacking import Stages

__all__ = ["TrainedVersion", "Training", "log_summary", "publish", "repository_of"]

CHAMPION: Final = "champion"
_OF_THIS_RUN: Final = ("fit_name", "model_cache")
_STARTS_OF_PATHS: Final = ("/", "./", "../", "~")


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A fitted network and how it came about.

    Attributes:
        network: calibrated, in evaluation mode.
        stages: its modalities.
        scores: on the rows held out.
        out_of_fold: what the fusion adds, as `OutOfFoldAnswers.scores` gives it.
        cascade: from when on a text alone is certain.
        snapshot: what was assigned to the rows held out; None where they are too few.
        seconds: from the first row read to the last score.
    """

    network: FusionNetwork
    stages: Stages
    scores: HeldOutScores
    out_of_fold: dict[str, Any]
    cascade: Cascade
    snapshot: Snapshot | None
    seconds: float

    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`."""
        return self.scores.to_json() | {
            "out_of_fold": self.out_of_fold,
            CASCADE_KEY: self.cascade.model_dump(),
            SNAPSHOT_KEY: None if self.snapshot is None else self.snapshot.model_dump(),
            "training_seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A new version and how it scores on the rows held out."""

    location: ModelLocation
    labels: LabelSet
    scores: HeldOutScores
    out_of_fold: dict[str, Any]
    cascade: Cascade
    is_champion: bool

    @property
    def evaluation(self) -> Evaluation:
        """Scores of the fusion on the rows held out."""
        return self.scores.evaluation


def repository_of(cfg: DictConfig) -> ModelRepository:
    """The repository that a run is to end in.

    Raises:
        models.errors.RepositoryError: its URL is not known, or the library for it is missing.
    """
    return ModelRepository(cfg.repository, cache_dir=cfg.model_cache)


def publish(cfg: DictConfig, training: Training) -> TrainedVersion:
    """Write the version; it becomes champion as `cfg.promote` says.

    Raises:
        models.errors.ModelError: the repository cannot be written.
    """
    repository = repository_of(cfg)
    rows = training.stages.rows
    fingerprint = rows.fingerprint() | _broken_pictures(training.stages)
    metadata = BundleMetadata(
        golden=pick_golden_products(_golden_candidates(training.stages)),
        metrics=training.metrics(),
        data_fingerprint=fingerprint,
        split=rows.split(),
        config=plain_config(cfg),
        card=_card(cfg, training, fingerprint),
    )
    location = repository.publish(
        cfg.name,
        lambda folder, version: write_bundle(
            folder, training.network, rows.labels, name=cfg.name, version=version, metadata=metadata
        ),
    )
    is_first = CHAMPION not in repository.aliases(cfg.name)
    is_champion = cfg.promote == "always" or (cfg.promote == "auto" and is_first)
    if is_champion:
        repository.promote(str(location), CHAMPION)
    return TrainedVersion(
        location, rows.labels, training.scores, training.out_of_fold, training.cascade, is_champion
    )


def log_summary(fitter: Fitter, cfg: DictConfig, trained: TrainedVersion) -> None:
    """Put the hyperparameters of the run and its final scores side by side into its loggers."""
    scores = trained.evaluation
    finals = {
        "final/f1_weighted": scores.weighted_f1,
        "final/f1_macro": scores.macro_f1,
        "final/accuracy": scores.accuracy,
        "final/ece": scores.ece,
    }
    parameters = plain_config(cfg) | {"version": str(trained.location)}
    for logger in fitter.loggers("run"):
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(parameters, finals)
        else:
            logger.log_hyperparams(parameters)
            logger.log_metrics(finals)
        logger.save()
        logger.finalize("success")


def plain_config(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration; of folders and files of this machine only their last name is left."""
    plain: Any = OmegaConf.to_container(OmegaConf.merge(cfg, {"run_dir": "run"}), resolve=True)
    plain["data"]["root"] = Path(plain["data"]["root"]).name
    plain["repository"] = _place(plain["repository"])
    plain["overrides"] = [_plain_override(each) for each in plain["overrides"]]
    return {str(key): _without_folders(value) for key, value in plain.items() if key not in _OF_THIS_RUN}


def _broken_pictures(stages: Stages) -> dict[str, int]:
    broken = {} if stages.image is None else stages.image.broken
    return {f"broken_pictures_{reason}": count for reason, count in sorted(broken.items())}


def _golden_candidates(stages: Stages) -> Iterator[Product]:
    """Training rows from as many categories as there are, those with a picture first."""
    rows = stages.rows
    pictured_N = np.zeros(len(rows), np.bool_) if stages.image is None else stages.image.present_N
    order = sorted(rows.train_rows.tolist(), key=lambda row: (not pictured_N[row], row))
    first_of: dict[int, int] = {}
    for row in order:
        first_of.setdefault(int(rows.truth_N[row]), row)
    first = list(first_of.values())
    chosen = set(first)
    for row in [*first, *(row for row in order if row not in chosen)]:
        yield rows.product(row)


def _card(cfg: DictConfig, training: Training, fingerprint: dict[str, Any]) -> str:
    rows, scores = training.stages.rows, training.scores
    counts_C = np.bincount(rows.truth_N[rows.train_rows], minlength=len(rows.labels))
    text, image = training.network.text, training.network.image
    return model_card(
        CardFacts(
            name=cfg.name,
            labels=rows.labels,
            text=None if text is None else _described(text),
            image=None if image is None else _described(image),
            evaluation=scores.evaluation,
            ece_before=scores.ece_before,
            alone={"text": scores.text_alone, "picture": scores.image_alone},
            out_of_fold=training.out_of_fold,
            cascade=training.cascade,
            data=fingerprint,
            training_rows={
                str(code): int(count) for code, count in zip(rows.labels.codes, counts_C, strict=True)
            },
            overrides=plain_config(cfg)["overrides"],
            seed=cfg.seed,
            libraries=library_versions(),
        )
    )


def _described(encoder: TextEncoder | ImageEncoder) -> str:
    """The kind of an encoder, and the numbers and names of its configuration."""
    plain = {name: value for name, value in encoder.config().items() if isinstance(value, int | float | str)}
    return f"{encoder.kind} ({', '.join(f'{name} {value}' for name, value in plain.items())})"


def _without_folders(value: Any) -> Any:
    """The same with the last name in the place of every path; a name on a hub, `a/b`, is none."""
    if isinstance(value, dict):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    is_path = isinstance(value, str) and value.startswith(_STARTS_OF_PATHS)
    return Path(value).name if is_path else value


def _place(path: str) -> str:
    """The last name of a path, or of a URL without its user and password."""
    return Path(without_secrets(path)).name


def _plain_override(override: str) -> str:
    name, equals, value = override.partition("=")
    value = value.strip("'\"")
    plain = _place(value) if name in ("data.root", "repository", "run_dir") else _without_folders(value)
    return f"{name}{equals}{plain}"
