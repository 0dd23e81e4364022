"""`train(cfg)`: the only wiring of a training run, from a catalogue to a version in the repository.

Text and picture encoders are fitted apart. The fusion is fitted on evidence of encoders that never saw the
row (out of fold, near duplicates in one fold); the stored encoders are fitted on all training rows. Rows held
out for validation are seen by no fit.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_module
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from models.errors import ModelError
from training.cascade import choose_cascade
from training.encoders import image_stage, text_stage
from training.fit_progress import progress_bars
from training.fitting import Fitter
from training.rows import TrainingRows, load_rows
from training.run_folder import check_catalogue, finish, run_folder
from training.scoring import held_out_cascade_rows, held_out_snapshot, score_held_out
from training.stacking import FusionSettings, Stages
from training.stages import StageRows
from training.version import TrainedVersion, Training, log_summary, publish

__all__ = ["compose_config", "train"]

logger = logging.getLogger(__name__)


def compose_config(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of a run: `training/conf/train.yaml` with Hydra overrides, keeping no run folder."""
    with initialize_config_module("training.conf", version_base="1.3"):
        cfg = compose("train", overrides=["run_dir=null", *overrides])
    cfg.overrides = list(overrides)
    return cfg


def train(cfg: DictConfig, *, resume: bool = False) -> TrainedVersion | None:
    """Train a version, score it on the rows held out, and put it into the repository.

    Args:
        cfg: as `compose_config`, Hydra or, to go on with a run, `training.run_folder.read_config` gives it.
        resume: go on with the interrupted run in `cfg.run_dir`.

    Returns:
        The version; None in the processes of a distributed run that only help with the fits.

    Raises:
        CatalogueError: the catalogue cannot be read or has nothing to learn from.
        models.errors.ModelError: weights, repository or run folder cannot be used, or there is no encoder.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    rows = _load(cfg)
    with run_folder(cfg, resume=resume) as folder:
        check_catalogue(folder, rows.fingerprint())
        try:
            return _train(cfg, rows, folder)
        except KeyboardInterrupt:
            if folder is not None:
                logger.warning("interrupted; go on with: shelver train --resume %s", folder)
            raise


def _train(cfg: DictConfig, rows: TrainingRows, folder: Path | None) -> TrainedVersion | None:
    began = time.monotonic()
    settings = FusionSettings(**cfg.fusion)
    torch.manual_seed(cfg.seed)
    with progress_bars() as progress:
        fitter = Fitter(cfg, rows.labels, progress, folder)
        stages = _stages(cfg, rows, fitter)
        encoders = stages.fit()
        out_of_fold = stages.out_of_fold(settings.num_folds, cfg.seed)
    if getattr(rank_zero_only, "rank", 0):
        return None
    network = stages.network(encoders)
    network.calibrate(out_of_fold.fit(settings))
    evidence = stages.evidence(encoders, rows.validation_rows)
    truth_R = torch.from_numpy(rows.truth_N[rows.validation_rows])
    answers = out_of_fold.answers(settings)
    training = Training(
        network=network,
        stages=stages,
        scores=score_held_out(network, evidence, truth_R, rows.labels),
        out_of_fold=answers.scores(),
        cascade=choose_cascade(
            held_out_cascade_rows(network, evidence, truth_R), answers.cascade_rows(), settings.cascade_loss
        ),
        snapshot=held_out_snapshot(network, evidence, rows),
        seconds=time.monotonic() - began,
    )
    trained = publish(cfg, training)
    log_summary(fitter, cfg, trained)
    finish(folder, str(trained.location))
    return trained


def _load(cfg: DictConfig) -> TrainingRows:
    return load_rows(
        Path(cfg.data.root),
        include_pseudo=cfg.data.include_pseudo,
        split=cfg.data.split,
        validation_fraction=cfg.data.validation_fraction,
        limit=cfg.data.limit,
        label_names=None if cfg.data.label_names is None else Path(cfg.data.label_names),
        seed=cfg.seed,
    )


def _stages(cfg: DictConfig, rows: TrainingRows, fitter: Fitter) -> Stages:
    stage_rows = StageRows.of(rows, pseudo_weight=cfg.data.pseudo_weight)
    stages = Stages(
        rows=rows,
        text=text_stage(cfg, rows, stage_rows, fitter),
        image=image_stage(cfg, rows, stage_rows, fitter),
    )
    if stages.text is None and stages.image is None:
        raise ModelError("text=none and image=none leave nothing to train, choose at least one of them")
    return stages
