"""The contract must fail on image encoders that are wrong, or it proves nothing of one that passes."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from models.image.backbones import TorchvisionBackbone
from models.image.base import ImageEncoder
from tests.contracts.image_encoder import ImageEncoderContract


def backbone(kind: type[TorchvisionBackbone] = TorchvisionBackbone) -> TorchvisionBackbone:
    torch.manual_seed(1)
    encoder = kind("mobilenet_v3_small", 5, image_size=64)
    torch.nn.init.uniform_(encoder.bias_C)
    adapt_batch_norm(encoder)
    return encoder.eval()


@torch.no_grad()
def adapt_batch_norm(encoder: TorchvisionBackbone) -> None:
    """Random weights say next to nothing of a picture unless each layer is brought back to scale."""
    for module in encoder.trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    encoder.trunk.train()
    encoder.trunk(torch.randn(8, 3, 64, 64))


class CentresTheBatch(TorchvisionBackbone):
    def features_NPD(self, pixels_NHWK: Tensor) -> Tensor:
        features_NPD = super().features_NPD(pixels_NHWK)
        return features_NPD - features_NPD.mean(0)


class HasAHeadThatBends(TorchvisionBackbone):
    def head(self, features_NPD: Tensor) -> Tensor:
        return super().head(features_NPD).tanh()


class MixesTheCells(TorchvisionBackbone):
    def head(self, features_NPD: Tensor) -> Tensor:
        evidence_NPC = super().head(features_NPD)
        return evidence_NPC + evidence_NPC[:, :1]


class AddsTheBiasToEachCell(TorchvisionBackbone):
    def head(self, features_NPD: Tensor) -> Tensor:
        return super().head(features_NPD) + self.bias_C


class ScalesInPlace(TorchvisionBackbone):
    def features_NPD(self, pixels_NHWK: Tensor) -> Tensor:
        return super().features_NPD(pixels_NHWK.div_(2, rounding_mode="floor"))


class ForgetsTheScale(TorchvisionBackbone):
    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        encoder = super().from_config(config, assets)
        encoder.scale_K *= 2
        return encoder


CASES = ImageEncoderContract


@pytest.mark.parametrize(
    ("wrong", "case"),
    [
        (CentresTheBatch, CASES.test_a_picture_has_the_same_evidence_alone_and_in_any_batch),
        (HasAHeadThatBends, CASES.test_the_head_is_linear_cell_by_cell),
        (MixesTheCells, CASES.test_the_head_is_linear_cell_by_cell),
        (AddsTheBiasToEachCell, CASES.test_features_averaged_over_the_cells_give_the_evidence_of_the_picture),
        (ScalesInPlace, CASES.test_pixels_are_only_read),
        (ForgetsTheScale, CASES.test_what_was_stored_comes_back_the_same),
    ],
)
def test_a_wrong_encoder_fails(
    wrong: type[TorchvisionBackbone], case: Callable[[ImageEncoderContract, ImageEncoder], None]
) -> None:
    case(ImageEncoderContract(), backbone())
    with pytest.raises(AssertionError):
        case(ImageEncoderContract(), backbone(wrong))
