"""Batch normalisation folded into convolutions: every backbone keeps its evidence."""

import pytest
import torch
from torch import Tensor, nn

from models.acceleration import fold_batch_norms
from models.image.backbones import ARCHITECTURES, RANDOM, TorchvisionBackbone


def with_statistics(module: nn.Module, generator: torch.Generator) -> None:
    """Means and variances as after training: those of a new network are 0 and 1 and hide mistakes."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            assert child.running_mean is not None
            assert child.running_var is not None
            child.running_mean.normal_(std=0.1, generator=generator)
            child.running_var.uniform_(0.5, 1.5, generator=generator)


@torch.inference_mode()
def evidence(encoder: TorchvisionBackbone, pixels_NHWK: Tensor) -> Tensor:
    return encoder.head(encoder.features_NPD(pixels_NHWK)).sum(dim=1)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_backbone_keeps_its_evidence(architecture: str) -> None:
    generator = torch.Generator().manual_seed(3)
    encoder = TorchvisionBackbone(architecture, 5, weights=RANDOM, image_size=64, generator=generator).eval()
    with_statistics(encoder, generator)
    pixels_NHWK = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)
    before = evidence(encoder, pixels_NHWK)

    fold_batch_norms(encoder)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    after = evidence(encoder, pixels_NHWK)
    assert torch.allclose(after, before, atol=1e-4 * float(before.abs().max()), rtol=1e-4)


def test_a_normalisation_that_follows_no_convolution_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()

    fold_batch_norms(network)

    assert isinstance(network[2], nn.BatchNorm2d)


def test_folding_twice_changes_nothing_more() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    fold_batch_norms(network)
    weights = network.state_dict()["0.weight"].clone()

    fold_batch_norms(network)

    assert torch.equal(network.state_dict()["0.weight"], weights)
