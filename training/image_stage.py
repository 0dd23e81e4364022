"""Fits image encoders: the last blocks of a backbone and its head, on maps that the rest computed once.

Letters: N rows of the run, M pictures that can be used, R some rows, B rows of a batch, C categories; V
variants, H and W rows and columns of a map, D its channels.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.image.backbones import TorchvisionBackbone
from training.data import FeatureInputs, StageData, batches
from training.fitting import FitSettings, Fitter
from training.picture_features import PictureMaps
from training.stages import Fit, StageRows

__all__ = ["ImageStage", "LearningPart", "TuningSettings", "settle_batch_norm"]

_EVIDENCE_BATCH = 256


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """What learns of a backbone.

    Attributes:
        num_tuned: its last blocks that learn; 0 for the head alone, the number of all for the whole of it.
        dropout: of the mean feature, before the head.
        bf16: learn in bfloat16, twice as fast where the processor has it; scores are always in float32.
        balance: how far rare categories count for more, as `StageRows.balanced_weight_N` takes it.
        fit: how long and how fast.
    """

    num_tuned: int
    dropout: float
    bf16: bool
    balance: float
    fit: FitSettings


class LearningPart(nn.Module):
    """The last blocks of a backbone and a linear head on the mean of their map.

    Of the variants of a picture one is drawn at each step, the first is taken when it is scored. Statistics
    of batch normalisation stay as they are: a few hundred pictures a category would only disturb them.
    """

    mean_D: Tensor
    std_D: Tensor
    scale_D: Tensor
    shift_D: Tensor

    def __init__(self, backbone: TorchvisionBackbone, maps_MVHWD: Tensor, settings: TuningSettings) -> None:
        """Copy the blocks; features are brought to mean 0 and variance 1 over some pictures.

        Args:
            backbone: whose last blocks are copied.
            maps_MVHWD: of the pictures it is to learn from.
            settings: how many blocks, and how they learn.
        """
        super().__init__()
        blocks = backbone.blocks
        self.blocks = nn.Sequential(*copy.deepcopy(blocks[len(blocks) - settings.num_tuned :]))
        self.blocks.requires_grad_(requires_grad=True)
        self.dropout = nn.Dropout(settings.dropout)
        self._bf16 = settings.bf16
        self.head = nn.Linear(backbone.weight_CD.shape[1], backbone.num_categories)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._from_pixels = settings.num_tuned == len(blocks)
        self.register_buffer("scale_D", backbone.scale_K)
        self.register_buffer("shift_D", backbone.shift_K)
        with torch.no_grad():
            features_MD = self._features_of_many(maps_MVHWD)
        self.register_buffer("mean_D", features_MD.mean(dim=0))
        self.register_buffer("std_D", features_MD.std(dim=0).clamp_min(1e-6))

    def forward(self, maps_BVHWD: Tensor) -> Tensor:
        """evidence_BC."""
        features_BD = self.features_BD(self._one_variant(maps_BVHWD))
        standard_BD = self.dropout((features_BD - self.mean_D) / self.std_D)
        evidence_BC: Tensor = self.head(standard_BD)
        return evidence_BC

    def features_BD(self, map_BHWD: Tensor) -> Tensor:
        """The mean of the last map."""
        map_BHWD = map_BHWD.to(self.head.weight.dtype)
        if self._from_pixels:
            map_BHWD = torch.addcmul(self.shift_D, map_BHWD, self.scale_D)
        map_BDHW = map_BHWD.permute(0, 3, 1, 2)
        with torch.autocast(map_BDHW.device.type, torch.bfloat16, enabled=self._bf16 and self.training):
            features_BD: Tensor = self.blocks(map_BDHW).mean(dim=(2, 3))
        return features_BD.float()

    def train(self, mode: bool = True) -> "LearningPart":
        """Set training mode; batch normalisation stays in evaluation mode."""
        super().train(mode)
        self.blocks.eval()
        return self

    def folded_into(self, backbone: TorchvisionBackbone) -> TorchvisionBackbone:
        """A copy of the backbone with what was learnt, in the form that is stored and served."""
        whole = copy.deepcopy(backbone)
        learnt = whole.blocks[len(whole.blocks) - len(self.blocks) :]
        for block, tuned in zip(learnt, self.blocks, strict=True):
            block.load_state_dict(tuned.state_dict())
        with torch.no_grad():
            weight_CD = self.head.weight / self.std_D
            whole.weight_CD.copy_(weight_CD)
            whole.bias_C.copy_(self.head.bias - weight_CD @ self.mean_D)
        return whole.eval()

    def _one_variant(self, maps_BVHWD: Tensor) -> Tensor:
        num_variants = maps_BVHWD.shape[1]
        if not self.training or num_variants == 1:
            return maps_BVHWD[:, 0]
        chosen_B = torch.randint(num_variants, (len(maps_BVHWD),)).to(maps_BVHWD.device)
        return maps_BVHWD[torch.arange(len(maps_BVHWD), device=maps_BVHWD.device), chosen_B]

    def _features_of_many(self, maps_MVHWD: Tensor) -> Tensor:
        self.blocks.eval()
        return torch.cat([self.features_BD(part[:, 0]) for part in torch.split(maps_MVHWD, _EVIDENCE_BATCH)])


class ImageStage:
    """Image encoders on one backbone; the maps of all pictures are there from the start."""

    def __init__(
        self,
        fitter: Fitter,
        rows: StageRows,
        backbone: TorchvisionBackbone,
        pictures: tuple[NDArray[np.int64], PictureMaps],
        settings: TuningSettings,
    ) -> None:
        """Take the maps.

        Args:
            fitter: of the run.
            rows: the N rows.
            backbone: in evaluation mode.
            pictures: the rows whose pictures were asked for, and their maps.
            settings: of every fit.
        """
        self._fitter = fitter
        self._rows = rows
        self._backbone = backbone
        self._settings = settings
        asked, maps = pictures
        self._maps_MVHWD = maps.maps_NVHWD
        self._rows_M = asked[maps.found]
        self._broken = maps.broken
        self._picture_N = np.full(len(rows.truth_N), -1, np.int64)
        self._picture_N[self._rows_M] = np.arange(len(self._rows_M))

    @property
    def present_N(self) -> NDArray[np.bool_]:
        """Whether each row has a picture that can be used."""
        return self._picture_N >= 0

    @property
    def broken(self) -> Mapping[str, int]:
        """Why and how many pictures cannot be used."""
        return self._broken

    def fit(self, fit: Fit) -> LearningPart:
        """The learning part, fitted on the pictures of some of the rows."""
        torch.manual_seed(self._fitter.seed)
        learn_from = self._pictures_of(fit.learn_from)
        part = LearningPart(
            self._backbone,
            self._maps_MVHWD[torch.from_numpy(learn_from)],
            self._settings,
        )
        data = StageData(
            FeatureInputs(self._maps_MVHWD),
            self._rows.truth_N[self._rows_M],
            self._rows.balanced_weight_N(self._rows_M[learn_from], self._settings.balance)[self._rows_M],
            train_rows=learn_from,
            validation_rows=self._pictures_of(fit.held_out),
            batch_size=self._settings.fit.batch_size,
            seed=self._fitter.seed,
            titles=[self._rows.titles[row] for row in self._rows_M],
        )
        self._fitter.fit(fit.name, part, data, self._settings.fit)
        return part.eval()

    def stored(self, encoder: LearningPart) -> TorchvisionBackbone:
        """The whole backbone with what a fit has learnt."""
        return encoder.folded_into(self._backbone)

    @torch.inference_mode()
    def evidence(self, encoder: LearningPart, rows: NDArray[np.int64]) -> Tensor:
        """evidence_RC of some rows; zeros without a picture."""
        evidence_RC = torch.zeros(len(rows), self._rows.num_categories)
        pictured = np.flatnonzero(self.present_N[rows])
        for part in batches(pictured, _EVIDENCE_BATCH):
            maps = self._maps_MVHWD[torch.from_numpy(self._picture_N[rows[part]])]
            evidence_RC[torch.from_numpy(part)] = encoder(maps)
        return evidence_RC

    def _pictures_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        pictures = self._picture_N[rows]
        return pictures[pictures >= 0]


@torch.no_grad()
def settle_batch_norm(backbone: TorchvisionBackbone, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Give a backbone with random weights the batch statistics of some pictures, one batch of all of them.

    Without them the activations of a random network die out or saturate, and its features tell nothing (data-
    dependent initialisation; Kraehenbuehl et al. 2016, "Data-dependent Initializations of Convolutional
    Neural Networks").
    """
    layers = [module for module in backbone.trunk.modules() if isinstance(module, nn.BatchNorm2d)]
    if not pictures or not layers:
        return
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    backbone.features_NPD(torch.from_numpy(np.stack(pictures)))
    backbone.eval()
