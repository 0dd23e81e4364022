"""From the configuration of an image encoder to the stage that fits it."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from omegaconf import DictConfig

from models.cache_dir import default_cache_dir
from models.errors import ModelError
from models.image.backbones import RANDOM, TorchvisionBackbone
from training.backbone_weights import find_weights
from training.fitting import FitSettings, Fitter
from training.image_stage import ImageStage, TuningSettings, settle_batch_norm
from training.picture_features import FrozenPart, compute_maps, decode_pictures
from training.rows import TrainingRows
from training.stages import StageRows

__all__ = ["torchvision_stage"]

logger = logging.getLogger(__name__)

ALL_BLOCKS: Final = "all"
NUM_SETTLING_PICTURES: Final = 64
"""Training pictures that the statistics of a random backbone come from."""


def torchvision_stage(
    cfg: DictConfig, rows: TrainingRows, stage_rows: StageRows, fitter: Fitter
) -> ImageStage:
    """A backbone of torchvision: maps of all pictures from its frozen blocks, once for all fits."""
    settings = cfg.image
    weights = find_weights(settings.weights, settings.architecture, rows.root)
    backbone = TorchvisionBackbone(
        settings.architecture,
        len(rows.labels),
        weights=weights,
        image_size=settings.image_size,
        resize=settings.resize,
    ).eval()
    num_tuned = _num_tuned(settings.num_tuned_blocks, len(backbone.blocks))
    asked = np.flatnonzero(rows.pictured_N)
    pictures = [partial(rows.picture, row) for row in asked.tolist()]
    if weights == RANDOM:
        known = np.flatnonzero(~rows.validation_N[asked])[:NUM_SETTLING_PICTURES]
        pixels, _ = decode_pictures([pictures[place] for place in known], backbone)
        settle_batch_norm(backbone, [*pixels.values()])
    task = fitter.progress.add_task("pictures", total=len(asked))
    maps = compute_maps(
        FrozenPart(backbone, num_tuned, settings.mirrored, settings.bf16),
        pictures,
        cache_dir=_cache_dir(cfg.data),
        num_threads=cfg.data.num_workers,
        advance=lambda done: fitter.progress.advance(task, done),
    )
    _warn_of_broken(maps.broken, len(asked))
    tuning = TuningSettings(
        num_tuned, settings.dropout, settings.bf16, settings.balance, FitSettings.of(settings)
    )
    return ImageStage(fitter, stage_rows, backbone, (asked, maps), tuning)


def _num_tuned(setting: int | str, num_blocks: int) -> int:
    if setting == ALL_BLOCKS:
        return num_blocks
    if isinstance(setting, int) and 0 <= setting <= num_blocks:
        return setting
    raise ModelError(
        f"num_tuned_blocks is {str(setting)[:40]!r}, it must be {ALL_BLOCKS}, or from 0 to {num_blocks}"
    )


def _cache_dir(settings: DictConfig) -> Path | None:
    if not settings.cache:
        return None
    return Path(settings.cache_dir) if settings.cache_dir else default_cache_dir() / "features"


def _warn_of_broken(broken: Mapping[str, int], num_pictures: int) -> None:
    if broken:
        reasons = ", ".join(f"{count} {reason}" for reason, count in broken.items())
        logger.warning("of %d pictures these cannot be used: %s", num_pictures, reasons)
