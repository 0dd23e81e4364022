"""What the fit of the fusion promises: it finds the temperature, trusts what tells, and keeps means."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.fusion import Evidence, FusionNetwork
from tests.tiny_models import tiny_network
from training.calibration import fit_fusion, fit_temperature

NUM_ROWS, NUM_CATEGORIES = 4_000, 3


def drawn(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits and truths drawn from their softmax."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(NUM_ROWS, NUM_CATEGORIES, generator=generator)
    truth = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    return scale * logits, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(temperature: float) -> None:
    logits, truth = drawn(1, scale=temperature)
    assert fit_temperature(logits, truth, torch.ones(NUM_ROWS)) == pytest.approx(temperature, rel=0.1)


def test_rows_of_weight_zero_do_not_count() -> None:
    logits, truth = drawn(1)
    noise, nonsense = drawn(2, scale=9.0)
    weight = torch.cat([torch.ones(NUM_ROWS), torch.zeros(NUM_ROWS)])
    both = fit_temperature(torch.cat([logits, noise]), torch.cat([truth, nonsense.flip(0)]), weight)
    assert both == pytest.approx(fit_temperature(logits, truth, torch.ones(NUM_ROWS)), rel=1e-3)


def fitted(image_tells: bool) -> tuple[FusionNetwork, Evidence, Tensor]:
    text, truth = drawn(3)
    image = 3 * functional.one_hot(truth, NUM_CATEGORIES).float() if image_tells else drawn(4)[0]
    present = torch.ones(NUM_ROWS, dtype=torch.bool)
    has_image = torch.arange(NUM_ROWS) % 4 != 0
    evidence = Evidence(text, image * has_image[:, None], present, has_image)
    network = tiny_network()
    network.calibrate(fit_fusion(evidence, truth, torch.ones(NUM_ROWS)))
    return network, evidence, truth


def test_a_picture_that_tells_nothing_gets_no_weight() -> None:
    network, _, _ = fitted(image_tells=False)
    assert float(network.image_weight_C.abs().max()) < 0.15
    assert float(network.text_weight_C.min()) > 0.8


def test_a_picture_that_tells_is_used_and_rows_without_one_lose_nothing() -> None:
    network, evidence, truth = fitted(image_tells=True)
    right = network.fuse(evidence).logits_BC.argmax(dim=1) == truth
    text_right = evidence.text_BC.argmax(dim=1) == truth
    has_image = evidence.image_present_B
    assert float(right[has_image].float().mean()) > 0.99
    assert float(right[~has_image].float().mean()) > float(text_right[~has_image].float().mean()) - 0.02


def test_the_means_are_those_of_the_rows_that_have_the_modality() -> None:
    network, evidence, _ = fitted(image_tells=True)
    expected = evidence.image_BC[evidence.image_present_B].mean(dim=0)
    torch.testing.assert_close(network.image_mean_C, expected, rtol=1e-4, atol=1e-5)


def test_rows_without_any_modality_cannot_be_fitted_on() -> None:
    nothing = torch.zeros(3, dtype=torch.bool)
    evidence = Evidence(torch.zeros(3, 2), torch.zeros(3, 2), nothing, nothing)
    with pytest.raises(ValueError, match="nothing to fit"):
        fit_fusion(evidence, torch.zeros(3, dtype=torch.int64), torch.ones(3))


def test_products_with_both_decide_the_ratio_the_more_they_weigh() -> None:
    text, truth = drawn(3)
    # A picture that tells much by itself and nothing beside the text.
    present = torch.ones(NUM_ROWS, dtype=torch.bool)
    evidence = Evidence(text, text, present, present)
    both_rows = torch.arange(NUM_ROWS) % 10 == 0
    evidence = evidence._replace(text_present_B=both_rows | (torch.arange(NUM_ROWS) % 2 == 0))
    evidence = evidence._replace(image_present_B=both_rows | (torch.arange(NUM_ROWS) % 2 == 1))
    light, heavy = (
        fit_fusion(evidence, truth, torch.ones(NUM_ROWS), alone_share=0, both_weight=weight)
        for weight in (0.01, 100.0)
    )
    sums = [float((each.text_weight_C + each.image_weight_C).mean()) for each in (light, heavy)]
    assert sums[0] == pytest.approx(2, abs=0.3)
    assert sums[1] == pytest.approx(1, abs=0.2)
