"""What every image encoder keeps to, whatever its backbone."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from models.image.base import ImageEncoder
from models.inputs import PreparedBatch, TextFeatures

TOLERANCE = 1e-5
"""Of evidence computed in float32, in parts of its largest value."""


def pictures(size_px: int) -> torch.Tensor:
    """Black, white, one colour, and two pictures of smooth noise."""
    generator = np.random.default_rng(1)
    plain = [np.full((size_px, size_px, 3), colour, np.uint8) for colour in (0, 255, (200, 30, 30))]
    coarse = generator.integers(0, 256, (2, 8, 8, 3), np.uint8)
    noise = coarse.repeat(-(-size_px // 8), axis=1).repeat(-(-size_px // 8), axis=2)[:, :size_px, :size_px]
    return torch.from_numpy(np.concatenate([np.stack(plain), noise]))


def evidence(encoder: ImageEncoder, pixels_NHWK: torch.Tensor) -> torch.Tensor:
    num_pictures = len(pixels_NHWK)
    batch = PreparedBatch(
        text=TextFeatures.absent(num_pictures),
        pixels_NHWK=pixels_NHWK.numpy(),
        image_rows_N=np.arange(num_pictures),
        image_reasons=(None,) * num_pictures,
    )
    with torch.inference_mode():
        evidence_NPC: Tensor = encoder(batch.to_tensors(torch.device("cpu")))
    return evidence_NPC


def assert_close(evidence_NPC: torch.Tensor, others_NPC: torch.Tensor) -> None:
    atol = TOLERANCE * float(others_NPC.abs().max())
    torch.testing.assert_close(evidence_NPC, others_NPC, rtol=TOLERANCE, atol=atol)


def assert_speaks(evidence_NPC: torch.Tensor) -> None:
    """Evidence that hardly depends on the picture would pass for the same anywhere."""
    assert float(evidence_NPC.std(0).max()) > 1e3 * TOLERANCE * float(evidence_NPC.abs().max())


class ImageEncoderContract:
    """Inherit and give an `encoder`: in evaluation mode, with weights that are not all alike."""

    @pytest.fixture
    def encoder(self) -> ImageEncoder:
        raise NotImplementedError

    def test_evidence_is_a_float32_for_each_cell_and_category(self, encoder: ImageEncoder) -> None:
        pixels_NHWK = pictures(encoder.image_size)
        evidence_NPC = evidence(encoder, pixels_NHWK)
        rows, columns = encoder.grid
        assert evidence_NPC.dtype == torch.float32
        assert evidence_NPC.shape == (len(pixels_NHWK), rows * columns, encoder.num_categories)
        assert evidence_NPC.isfinite().all()
        assert_speaks(evidence_NPC)

    def test_a_picture_has_the_same_evidence_alone_and_in_any_batch(self, encoder: ImageEncoder) -> None:
        pixels_NHWK = pictures(encoder.image_size)
        together_NPC = evidence(encoder, pixels_NHWK)
        assert_speaks(together_NPC)
        alone_NPC = torch.cat(
            [evidence(encoder, picture_NHWK) for picture_NHWK in torch.split(pixels_NHWK, 1)]
        )
        assert_close(together_NPC, alone_NPC)
        assert_close(evidence(encoder, pixels_NHWK.flip(0)).flip(0), together_NPC)

    def test_no_pictures_give_no_evidence(self, encoder: ImageEncoder) -> None:
        evidence_NPC = evidence(encoder, pictures(encoder.image_size)[:0])
        assert evidence_NPC.shape == (0, encoder.grid[0] * encoder.grid[1], encoder.num_categories)

    @torch.inference_mode()
    def test_evidence_is_the_head_of_the_features(self, encoder: ImageEncoder) -> None:
        pixels_NHWK = pictures(encoder.image_size)
        features_NPD = encoder.features_NPD(pixels_NHWK)
        assert features_NPD.dtype == torch.float32
        assert_close(encoder.head(features_NPD), evidence(encoder, pixels_NHWK))

    @torch.inference_mode()
    def test_the_head_is_linear_cell_by_cell(self, encoder: ImageEncoder) -> None:
        features_NPD = torch.rand_like(encoder.features_NPD(pictures(encoder.image_size)))
        others_NPD = features_NPD.flip(0).roll(1, dims=1)
        mixed_NPC = 0.25 * encoder.head(features_NPD) + 0.75 * encoder.head(others_NPD)
        assert_close(encoder.head(0.25 * features_NPD + 0.75 * others_NPD), mixed_NPC)
        assert_close(encoder.head(others_NPD), encoder.head(features_NPD).flip(0).roll(1, dims=1))

    @torch.inference_mode()
    def test_features_averaged_over_the_cells_give_the_evidence_of_the_picture(
        self, encoder: ImageEncoder
    ) -> None:
        features_NPD = encoder.features_NPD(pictures(encoder.image_size))
        averaged_NPC = encoder.head(features_NPD.mean(1, keepdim=True))
        assert_close(averaged_NPC, encoder.head(features_NPD).sum(1, keepdim=True))

    def test_pixels_are_only_read(self, encoder: ImageEncoder) -> None:
        pixels_NHWK = pictures(encoder.image_size)
        evidence(encoder, pixels_NHWK)
        assert torch.equal(pixels_NHWK, pictures(encoder.image_size))

    def test_what_was_stored_comes_back_the_same(self, encoder: ImageEncoder) -> None:
        config = json.loads(json.dumps(encoder.config(), allow_nan=False))
        restored = type(encoder).from_config(config, encoder.assets())
        restored.load_state_dict(encoder.state_dict())
        restored.eval()
        assert restored.config() == encoder.config()
        assert (restored.image_size, restored.grid) == (encoder.image_size, encoder.grid)
        pixels_NHWK = pictures(encoder.image_size)
        assert torch.equal(evidence(restored, pixels_NHWK), evidence(encoder, pixels_NHWK))
