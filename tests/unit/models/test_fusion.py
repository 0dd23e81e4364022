from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import ModelError
from models.fusion import FusionCalibration, FusionNetwork, Presence
from models.inputs import PreparedBatch, TensorBatch, TextFeatures
from tests.tiny_models import NUM_CATEGORIES, TinyImage, TinyText, tiny_network

TEXTS = [("robot de piscine", "électrique"), ("livre", ""), ("", ""), ("", ""), ("console", "")]
PICTURED = np.array([0, 2, 4])
"""Rows: both, text only, picture only, neither, both."""


def batch(rows: list[int] | None = None, seed: int = 0) -> TensorBatch:
    pixels_NHWK = np.random.default_rng(seed).integers(0, 255, (len(PICTURED), 8, 8, 3), np.uint8)
    prepared = PreparedBatch(TinyText().featurize(TEXTS), pixels_NHWK, PICTURED, (None,) * len(TEXTS))
    return prepared.select(range(5) if rows is None else rows).to_tensors(torch.device("cpu"))


def scored(network: FusionNetwork, tensors: TensorBatch) -> Tensor:
    with torch.inference_mode():
        logits_BC: Tensor = network(tensors)
    return logits_BC


def test_logits_are_the_weighted_evidence_over_the_temperature_of_what_a_product_has() -> None:
    network: Any = tiny_network()
    with torch.inference_mode():
        text_BC = network.text(batch())
        image_NC = network.image(batch()).sum(dim=1)
    text_mean, image_mean = network.text_mean_C, network.image_mean_C

    def fused(presence: int, text_C: Tensor, image_C: Tensor) -> Tensor:
        weighted_C = network.text_weight_3C[presence] * text_C + network.image_weight_3C[presence] * image_C
        logits_C: Tensor = (weighted_C + network.bias_3C[presence]) / network.temperature_3[presence]
        return logits_C

    expected = torch.stack(
        [
            fused(Presence.BOTH, text_BC[0], image_NC[0]),
            fused(Presence.TEXT, text_BC[1], image_mean),
            fused(Presence.IMAGE, text_mean, image_NC[1]),
            fused(Presence.BOTH, text_mean, image_mean),
            fused(Presence.BOTH, text_BC[4], image_NC[2]),
        ]
    )
    torch.testing.assert_close(scored(network, batch()), expected)


@pytest.mark.parametrize(("text", "image"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("seed", range(5))
def test_the_parts_of_the_modalities_and_the_bias_add_up_to_the_logits(
    text: bool, image: bool, seed: int
) -> None:
    network = tiny_network(text=text, image=image, seed=seed)
    with torch.inference_mode():
        parts = network.modality_logits(batch(seed=seed))
    torch.testing.assert_close(
        parts.text_BC + parts.image_BC + parts.bias_BC, scored(network, batch(seed=seed)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("text", "image"), [(True, True), (True, False), (False, True)])
def test_a_product_scores_the_same_alone_and_in_any_batch(text: bool, image: bool) -> None:
    network = tiny_network(text=text, image=image)
    together = scored(network, batch())
    for rows in ([0], [1], [2], [3], [4], [4, 3, 2, 1, 0], [2, 2, 0], [1, 3]):
        torch.testing.assert_close(scored(network, batch(rows)), together[rows], atol=1e-5, rtol=0)


def test_a_missing_modality_counts_as_its_mean_whatever_the_encoder_would_say() -> None:
    network: Any = tiny_network()
    before = scored(network, batch([3]))
    with torch.no_grad():
        network.text.table_VC.fill_(7)
        network.image.linear.weight.fill_(7)
    torch.testing.assert_close(scored(network, batch([3])), before)


def test_a_model_without_an_image_encoder_scores_a_product_as_if_it_had_no_picture() -> None:
    network = tiny_network(image=False)
    prepared = PreparedBatch(
        TinyText().featurize(TEXTS),
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros(0, np.int64),
        (None,) * len(TEXTS),
    )
    torch.testing.assert_close(
        scored(network, batch()), scored(network, prepared.to_tensors(torch.device("cpu")))
    )


def test_an_empty_batch_gives_no_rows() -> None:
    assert scored(tiny_network(), batch([])).shape == (0, NUM_CATEGORIES)


def test_a_batch_without_any_picture_or_any_text_is_scored() -> None:
    network: Any = tiny_network()
    assert scored(network, batch([1])).isfinite().all()
    absent_B = torch.zeros(1, dtype=torch.bool)
    no_text = replace(batch([2]), text_present_B=absent_B, has_text_B=absent_B)
    assert scored(network, no_text).isfinite().all()
    assert TextFeatures.absent(2).num_texts == 2


def test_a_new_fusion_is_the_plain_sum() -> None:
    network = FusionNetwork(TinyText(), TinyImage(), NUM_CATEGORIES)
    evidence = network.evidence(batch())
    torch.testing.assert_close(network(batch()), evidence.text_BC + evidence.image_BC)


def test_gradients_reach_the_encoders_and_leave_the_calibration() -> None:
    network = tiny_network().train()
    network(batch()).square().sum().backward()
    assert {name for name, _ in network.named_parameters()} == {
        "text.table_VC",
        "image.linear.weight",
        "image.linear.bias",
    }
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters()
    )


def test_scores_stay_in_float32_when_encoders_compute_in_less() -> None:
    network: Any = tiny_network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(batch()).dtype == torch.float32


def calibration(**changes: Tensor) -> FusionCalibration:
    shapes = {"3C": (3, NUM_CATEGORIES), "C": (NUM_CATEGORIES,), "3": (3,)}
    values = {
        name: torch.ones(shapes[name.rpartition("_")[2]]) for name in FusionCalibration.__dataclass_fields__
    }
    return FusionCalibration(**(values | changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bias_3C", torch.ones(3, NUM_CATEGORIES + 1)),
        ("bias_3C", torch.ones(NUM_CATEGORIES)),
        ("bias_3C", torch.tensor([[0.0, float("nan"), 0.0]]).expand(3, NUM_CATEGORIES)),
        ("image_mean_C", torch.ones(1)),
        ("temperature_3", torch.tensor([1.0, 0.0, 1.0])),
        ("temperature_3", torch.tensor([1.0, -1.0, 1.0])),
        ("temperature_3", torch.tensor([1.0, float("inf"), 1.0])),
    ],
)
def test_a_calibration_that_cannot_be_is_refused_and_changes_nothing(name: str, value: Tensor) -> None:
    network: Any = tiny_network()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(ModelError, match=r"must (hold|be above)"):
        network.calibrate(calibration(**{name: value}))
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


def test_a_fusion_needs_an_encoder_and_encoders_for_its_categories() -> None:
    with pytest.raises(ModelError, match="there is neither"):
        FusionNetwork(None, None, 3)
    with pytest.raises(ModelError, match=r"'tiny_text' answers for 4 categories"):
        FusionNetwork(TinyText(4), None, 3)
