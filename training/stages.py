"""The fits of the encoders: text and picture, each on any set of rows, by a Lightning Trainer.

Shape letters: N rows, B rows of a batch, C categories, D features.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from models.image.backbones import TorchvisionBackbone
from models.inputs import TextFeatures
from models.text.ngram_bag import NgramBag, NgramVocabulary
from training.data import FeatureInputs, StageData, StageInputs, TextInputs
from training.fit_progress import FitProgress
from training.module import ClassifierModule

EVIDENCE_BATCH = 512


@dataclass(frozen=True, slots=True, eq=False)
class StageRows:
    """What every stage knows of the N rows: column of the category, and how much the row counts."""

    truth_N: NDArray[np.int64]
    weight_N: NDArray[np.float32]
    num_categories: int


class FeatureHead(nn.Module):
    """A linear layer on features that are brought to mean 0 and variance 1; folds into a backbone's head."""

    mean_D: Tensor
    std_D: Tensor

    def __init__(self, features_ND: Tensor, num_categories: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features_ND.shape[1], num_categories)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean_D", features_ND.mean(dim=0))
        self.register_buffer("std_D", features_ND.std(dim=0).clamp_min(1e-6))

    def forward(self, features_BD: Tensor) -> Tensor:
        """evidence_BC."""
        weight_CD, bias_C = self.folded()
        return functional.linear(features_BD, weight_CD, bias_C)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (C, D) and bias (C,) for features as they are."""
        weight_CD = self.linear.weight / self.std_D
        return weight_CD, self.linear.bias - weight_CD @ self.mean_D


def fit_text(
    cfg: DictConfig,
    text: TextFeatures,
    vocabulary: NgramVocabulary,
    rows: StageRows,
    learn_from: NDArray[np.int64],
    progress: Progress,
) -> NgramBag:
    """Fit an n-gram bag on some of the rows and fold it."""
    torch.manual_seed(cfg.seed)
    bag = NgramBag(
        vocabulary,
        rows.num_categories,
        embedding_dim=cfg.text.embedding_dim,
        dropout=cfg.text.dropout,
        max_characters=cfg.text.max_characters,
    )
    known = learn_from[text.present_B[learn_from]]
    _fit(
        cfg,
        "text",
        bag,
        rows.num_categories,
        _data(cfg.text, cfg.seed, TextInputs(text), rows, known),
        progress,
    )
    with torch.no_grad():
        return bag.eval().fold()


def fit_image(
    cfg: DictConfig,
    features_ND: Tensor,
    rows: StageRows,
    learn_from: NDArray[np.int64],
    progress: Progress,
) -> FeatureHead:
    """Fit the head of a frozen backbone on some of the pictures; rows count the pictures here."""
    torch.manual_seed(cfg.seed)
    head = FeatureHead(features_ND[torch.from_numpy(learn_from)], rows.num_categories)
    data = _data(cfg.image, cfg.seed, FeatureInputs(features_ND), rows, learn_from)
    _fit(cfg, "image", head, rows.num_categories, data, progress)
    return head.eval()


@torch.inference_mode()
def text_evidence(bag: NgramBag, text: TextFeatures, rows: NDArray[np.int64]) -> Tensor:
    """evidence_RC of some rows."""
    inputs = TextInputs(text)
    starts = range(0, len(rows), EVIDENCE_BATCH)
    parts = [bag(inputs.take(rows[start : start + EVIDENCE_BATCH], torch.device("cpu"))) for start in starts]
    return torch.cat(parts) if parts else torch.zeros(0, bag.num_categories)


@torch.no_grad()
def settle_batch_norm(backbone: TorchvisionBackbone, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Give a backbone with random weights the batch statistics of some pictures, one batch of all of them.

    Without them the activations of a random network die out or saturate, and its features tell nothing (data-
    dependent initialisation; Kraehenbuehl et al. 2016, "Data-dependent Initializations of Convolutional
    Neural Networks").
    """
    pixels = list(pictures)
    layers = [module for module in backbone.trunk.modules() if isinstance(module, nn.BatchNorm2d)]
    if not pixels or not layers:
        return
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    backbone.features_NPD(torch.from_numpy(np.stack(pixels)))
    backbone.eval()


@torch.inference_mode()
def picture_features(
    backbone: TorchvisionBackbone,
    pictures: Iterable[NDArray[np.uint8]],
    num_pictures: int,
    progress: Progress,
) -> Tensor:
    """features_ND of pictures, the mean over their cells, computed a few at a time.

    Args:
        backbone: in evaluation mode.
        pictures: uint8 (H, W, 3) each.
        num_pictures: how many there are.
        progress: shows how far it is.
    """
    task = progress.add_task("pictures", total=num_pictures)
    parts: list[Tensor] = []
    waiting: list[NDArray[np.uint8]] = []
    for picture in pictures:
        waiting.append(picture)
        if len(waiting) == 32:
            parts.append(_features(backbone, waiting))
            progress.advance(task, len(waiting))
            waiting = []
    if waiting:
        parts.append(_features(backbone, waiting))
        progress.advance(task, len(waiting))
    return torch.cat(parts) if parts else torch.zeros(0, backbone.weight_CD.shape[1])


def _features(backbone: TorchvisionBackbone, pictures: list[NDArray[np.uint8]]) -> Tensor:
    return backbone.features_NPD(torch.from_numpy(np.stack(pictures))).mean(dim=1)


def _data(
    stage: DictConfig, seed: int, inputs: StageInputs, rows: StageRows, learn_from: NDArray[np.int64]
) -> StageData:
    return StageData(
        inputs,
        rows.truth_N,
        rows.weight_N,
        train_rows=learn_from,
        validation_rows=np.zeros(0, np.int64),
        batch_size=stage.batch_size,
        seed=seed,
    )


def _fit(
    cfg: DictConfig, stage: str, network: nn.Module, num_categories: int, data: StageData, progress: Progress
) -> None:
    settings = cfg[stage]
    optimizer: Any = instantiate(cfg.optimizer)
    module = ClassifierModule(
        network, num_categories, lambda parameters: optimizer(parameters, lr=settings.learning_rate)
    )
    trainer = instantiate(cfg.trainer)(
        max_epochs=settings.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FitProgress(progress, f"fit {stage}")],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=data)
    network.cpu()
