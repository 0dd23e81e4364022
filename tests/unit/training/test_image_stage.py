"""What learns of a backbone is what the stored encoder says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.image.backbones import ARCHITECTURES, TorchvisionBackbone
from tests.contracts.image_encoder import evidence, pictures
from tests.unit.training.networks import LABELS, fitter
from training.backbone_weights import find_weights
from training.fitting import FitSettings
from training.image_stage import ImageStage, LearningPart, TuningSettings, settle_batch_norm
from training.picture_features import FrozenPart, PictureMaps
from training.stages import Fit, StageRows

NUM_ROWS = 30


def backbone(architecture: str = "mobilenet_v3_small", size_px: int = 64) -> TorchvisionBackbone:
    torch.manual_seed(1)
    return TorchvisionBackbone(architecture, len(LABELS), image_size=size_px).eval()


def coloured_pictures() -> np.ndarray:
    generator = np.random.default_rng(1)
    colours = np.eye(3)[np.arange(NUM_ROWS) % 3] * 200
    noise = generator.integers(0, 50, (NUM_ROWS, 64, 64, 3))
    return (colours[:, None, None] + noise).astype(np.uint8)


def stage(num_tuned: int, epochs: int = 15) -> ImageStage:
    encoder = backbone()
    pixels_NHWK = coloured_pictures()
    settle_batch_norm(encoder, list(pixels_NHWK))
    maps = FrozenPart(encoder, num_tuned, mirrored=True).maps_NVHWD(pixels_NHWK)
    # Row 0 has no picture, and the picture of row 3 cannot be used.
    asked = np.arange(1, NUM_ROWS)
    found = np.delete(np.arange(NUM_ROWS - 1), 2)
    return ImageStage(
        fitter(None),
        StageRows(np.arange(NUM_ROWS) % 3, np.ones(NUM_ROWS, np.float32), 3, ("",) * NUM_ROWS),
        encoder,
        (asked, PictureMaps(found, maps[asked[found]], {"corrupt": 1})),
        TuningSettings(num_tuned, 0.1, bf16=False, balance=0.5, fit=FitSettings(epochs, 8, 0.01)),
    )


def fitted(num_tuned: int) -> tuple[ImageStage, LearningPart]:
    each = stage(num_tuned)
    return each, each.fit(Fit("image", np.arange(NUM_ROWS - 6), np.arange(NUM_ROWS - 6, NUM_ROWS)))


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "resnet18", "regnet_y_400mf", "convnext_tiny"])
def test_blocks_one_after_the_other_are_the_trunk(architecture: str) -> None:
    assert architecture in ARCHITECTURES
    encoder = backbone(architecture)
    map_NDHW = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = encoder.trunk(map_NDHW)
        for block in encoder.blocks:
            map_NDHW = block(map_NDHW)
    torch.testing.assert_close(map_NDHW, expected)
    assert len(encoder.blocks) > 5


NUM_BLOCKS = len(backbone().blocks)


@pytest.mark.parametrize("num_tuned", [0, 3, NUM_BLOCKS])
def test_the_stored_encoder_says_what_was_learnt(num_tuned: int) -> None:
    each, part = fitted(num_tuned)
    stored = each.stored(part)
    pixels_NHWK = torch.from_numpy(coloured_pictures()[4:])
    expected_RC = each.evidence(part, np.arange(4, NUM_ROWS))
    found_RC = evidence(stored, pixels_NHWK).sum(dim=1)
    # Maps are kept in bfloat16, which has 8 bits.
    tolerance = 0.05 if num_tuned == 3 else 1e-4
    torch.testing.assert_close(found_RC, expected_RC, rtol=0, atol=tolerance * float(expected_RC.abs().max()))


@pytest.mark.parametrize("num_tuned", [0, 3])
def test_a_fit_learns_and_repeats_itself(num_tuned: int) -> None:
    each, part = fitted(num_tuned)
    held_out = np.arange(NUM_ROWS - 6, NUM_ROWS)
    evidence_RC = each.evidence(part, held_out)
    assert (evidence_RC.argmax(dim=1).numpy() == held_out % 3).mean() > 0.8
    again, second = fitted(num_tuned)
    torch.testing.assert_close(again.evidence(second, held_out), evidence_RC, rtol=0, atol=1e-4)


def test_only_the_last_blocks_change() -> None:
    each, part = fitted(3)
    before, after = backbone(), each.stored(part)
    settle_batch_norm(before, list(coloured_pictures()))
    changed = [
        any(
            not torch.equal(old, new)
            for old, new in zip(first.parameters(), second.parameters(), strict=True)
        )
        for first, second in zip(before.blocks, after.blocks, strict=True)
    ]
    assert not any(changed[:-3])
    assert all(changed[-3:])
    for first, second in zip(before.blocks, after.blocks, strict=True):
        for (name, old), new in zip(first.named_buffers(), second.buffers(), strict=True):
            assert torch.equal(old, new), name


def test_rows_without_a_usable_picture_have_no_evidence() -> None:
    each, part = fitted(0)
    assert each.present_N.tolist() == [False, True, True, False, *[True] * (NUM_ROWS - 4)]
    evidence_RC = each.evidence(part, np.array([0, 1, 3]))
    assert not evidence_RC[[0, 2]].any()
    assert evidence_RC[1].any()
    assert each.broken == {"corrupt": 1}


def test_evidence_of_a_tuned_encoder_is_linear_in_its_cells() -> None:
    each, part = fitted(3)
    stored = each.stored(part)
    features_NPD = stored.features_NPD(pictures(64))
    whole_NC = evidence(stored, pictures(64)).sum(dim=1)
    mean_NC = stored.head(features_NPD.mean(dim=1, keepdim=True)).sum(dim=1)
    torch.testing.assert_close(whole_NC, mean_NC, rtol=1e-4, atol=1e-4)


def test_weights_are_found_beside_the_catalogue_and_above_it(tmp_path: Path) -> None:
    catalogue = tmp_path / "data" / "rakuten"
    catalogue.mkdir(parents=True)
    assert find_weights("auto", "mobilenet_v2", catalogue) == "random"
    (tmp_path / "weights").mkdir()
    far = tmp_path / "weights" / "mobilenet_v2_x.pth"
    (tmp_path / "weights" / "mobilenet_v2.txt").touch()
    far.touch()
    assert find_weights("auto", "mobilenet_v2", catalogue) == str(far)
    near = far.with_name("mobilenet_v2_y.safetensors")
    near.touch()
    assert find_weights("auto", "mobilenet_v2", catalogue / "rows.csv") == str(near)
    assert find_weights("auto", "resnet18", catalogue) == "random"
    assert find_weights("some.pth", "mobilenet_v2", catalogue) == "some.pth"
    assert find_weights(None, "mobilenet_v2", catalogue) == "random"
