"""What the fit of the fusion promises: it finds the temperature, trusts what tells, and keeps means."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.fusion import Evidence, FusionNetwork, Presence
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
    for presence in (Presence.IMAGE, Presence.BOTH):
        assert float((network.image_weight_3C / network.temperature_3[:, None])[presence].abs().max()) < 0.15
    for presence in (Presence.TEXT, Presence.BOTH):
        assert float((network.text_weight_3C / network.temperature_3[:, None])[presence].min()) > 0.8


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


def test_two_modalities_that_say_the_same_count_once_where_a_product_has_both() -> None:
    text, truth = drawn(3)
    rows = torch.arange(NUM_ROWS)
    evidence = Evidence(text, text, rows % 3 != 1, rows % 3 != 2)
    fitted = fit_fusion(evidence, truth, torch.ones(NUM_ROWS))
    counted = (fitted.text_weight_3C + fitted.image_weight_3C).mean(dim=1) / fitted.temperature_3
    assert counted.tolist() == pytest.approx([1, 1, 1], abs=0.1)


def test_a_modality_has_no_part_in_the_answer_to_products_without_it() -> None:
    network, _, _ = fitted(image_tells=True)
    assert not network.image_weight_3C[Presence.TEXT].any()
    assert not network.text_weight_3C[Presence.IMAGE].any()


@pytest.mark.parametrize("num_both", [0, 3])
def test_where_few_products_have_both_the_answer_is_near_the_plain_sum(num_both: int) -> None:
    text, truth = drawn(3)
    image = drawn(4)[0].roll(1, dims=0)
    rows = torch.arange(NUM_ROWS)
    has_image = rows >= NUM_ROWS // 2
    evidence = Evidence(text, image, ~has_image | (rows >= NUM_ROWS - num_both), has_image)
    fusion = fit_fusion(evidence, truth, torch.ones(NUM_ROWS))
    alone = fusion.text_weight_3C[Presence.TEXT]
    assert alone.tolist() == pytest.approx([1, 1, 1], abs=0.15)
    together = fusion.text_weight_3C[Presence.BOTH] / alone
    assert together.tolist() == pytest.approx([1, 1, 1], abs=0.35 if num_both else 1e-5)


@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_the_scale_of_the_evidence_does_not_matter(scale: float) -> None:
    text, truth = drawn(3)
    image = functional.one_hot(truth, NUM_CATEGORIES) + drawn(4)[0]
    rows = torch.arange(NUM_ROWS)
    evidence = Evidence(text, image, rows % 3 != 1, rows % 3 != 2)
    scaled = evidence._replace(text_BC=scale * text, image_BC=scale * image)
    answers = []
    for each in (evidence, scaled):
        network = tiny_network()
        network.calibrate(fit_fusion(each, truth, torch.ones(NUM_ROWS)))
        answers.append(network.fuse(each).logits_BC.softmax(dim=1))
    torch.testing.assert_close(*answers, atol=0.01, rtol=0)
