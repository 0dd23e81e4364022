"""Fits the fusion: how far text and picture count for each category, and how sure the sum may be.

The evidence that it learns from is out of fold: it comes from encoders that never saw the row. Evidence of an
encoder on its own training rows would be far too sure, and the fusion would trust it too much (stacking;
Wolpert 1992, "Stacked generalization"). The temperature is that of Guo et al. 2017, section 4.2.

Shape letters: B rows, R rows of a view, M modalities of a view, C categories. Sums are in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.fusion import Evidence, FusionCalibration, Presence

__all__ = ["fit_fusion", "fit_temperature"]

_TEMPERATURE_BOUNDS = (0.05, 20.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows that the fusion sees with the same modalities."""

    truth_R: Tensor
    weight_R: Tensor

    def __bool__(self) -> bool:
        return bool((self.weight_R > 0).any())


@dataclass(frozen=True, slots=True, eq=False)
class _Linear:
    """logits_RC = the sum over M modalities of weight_MC times evidence, plus bias_C."""

    weight_MC: Tensor
    bias_C: Tensor

    def __call__(self, *evidence: Tensor) -> Tensor:
        weighted = [weight_C * each for weight_C, each in zip(self.weight_MC, evidence, strict=True)]
        return torch.stack(weighted).sum(dim=0) + self.bias_C


def fit_fusion(
    evidence: Evidence, truth_B: Tensor, weight_B: Tensor, *, l2: float = 5.0, max_steps: int = 200
) -> FusionCalibration:
    """Weights, biases, means and temperatures that make out-of-fold evidence most likely.

    Each modality is calibrated alone, on all rows that have it: that is the answer to a product with nothing
    else. Rows with both then say how far the two calibrated logits count side by side; where there are few,
    the answer stays near their plain sum. Each fit minimises the negative log likelihood of its rows plus
    `l2` times the squared distances of weights from 1 and of biases from 0; convex, solved by L-BFGS.
    Cost: O(steps B C).

    Args:
        evidence: out of fold, any dtype.
        truth_B: int64, column of each row's category; no -1.
        weight_B: how much each row counts.
        l2: strength of the pull; 1 / (2 l2) is the variance of a Gaussian prior.
        max_steps: of L-BFGS.

    Returns:
        float32 values for `Fusion.calibrate`. A modality that no row has keeps weight 1 and mean 0.

    Raises:
        ValueError: no row has text or a picture.
    """
    text_BC, image_BC = evidence.text_BC.double(), evidence.image_BC.double()
    has_text_B, has_image_B = evidence.text_present_B, evidence.image_present_B
    both_B = has_text_B & has_image_B
    text, image, both = (
        _Rows(truth_B[rows_B], weight_B[rows_B].double()) for rows_B in (has_text_B, has_image_B, both_B)
    )
    if not text and not image:
        raise ValueError("no training row has text or a picture, so there is nothing to fit the fusion on")
    by_text = _calibrate(text_BC[has_text_B], text, l2, max_steps)
    by_image = _calibrate(image_BC[has_image_B], image, l2, max_steps)
    side_by_side = _fit_linear([by_text(text_BC[both_B]), by_image(image_BC[both_B])], both, l2, max_steps)
    by_both = _Linear(
        side_by_side.weight_MC * torch.cat([by_text.weight_MC, by_image.weight_MC]),
        side_by_side(by_text.bias_C, by_image.bias_C),
    )
    nothing_C = torch.zeros_like(by_text.bias_C)
    temperatures = torch.ones(3)
    temperatures[Presence.TEXT] = _temperature(by_text(text_BC[has_text_B]), text)
    temperatures[Presence.IMAGE] = _temperature(by_image(image_BC[has_image_B]), image)
    temperatures[Presence.BOTH] = _temperature(by_both(text_BC[both_B], image_BC[both_B]), both)
    return FusionCalibration(
        text_weight_3C=torch.stack([by_text.weight_MC[0], nothing_C, by_both.weight_MC[0]]).float(),
        image_weight_3C=torch.stack([nothing_C, by_image.weight_MC[0], by_both.weight_MC[1]]).float(),
        bias_3C=torch.stack([by_text.bias_C, by_image.bias_C, by_both.bias_C]).float(),
        text_mean_C=_mean_of(text_BC[has_text_B]).float(),
        image_mean_C=_mean_of(image_BC[has_image_B]).float(),
        temperature_3=temperatures,
    )


def fit_temperature(logits_RC: Tensor, truth_R: Tensor, weight_R: Tensor, *, max_steps: int = 50) -> float:
    """The T above 0 that makes softmax(logits / T) most likely, kept between 0.05 and 20.

    Args:
        logits_RC: of rows that the encoders did not learn from.
        truth_R: int64, column of each row's category.
        weight_R: how much each row counts; at least one above 0.
        max_steps: of L-BFGS, in the logarithm of T.
    """
    logits_RC, weight_R = logits_RC.double(), weight_R.double()
    log_temperature = torch.zeros((), dtype=torch.float64)

    def loss() -> Tensor:
        return _mean_loss(logits_RC / log_temperature.exp(), truth_R, weight_R)

    _minimise([log_temperature], loss, max_steps)
    low, high = _TEMPERATURE_BOUNDS
    return min(high, max(low, float(log_temperature.exp())))


def _mean_of(evidence_RC: Tensor) -> Tensor:
    return evidence_RC.sum(dim=0) / max(1, len(evidence_RC))


def _calibrate(evidence_RC: Tensor, rows: _Rows, l2: float, max_steps: int) -> _Linear:
    """One modality's calibrated logits, of its evidence on whatever scale."""
    temperature = _temperature(evidence_RC, rows)
    fitted = _fit_linear([evidence_RC / temperature], rows, l2, max_steps)
    return _Linear(fitted.weight_MC / temperature, fitted.bias_C)


def _temperature(logits_RC: Tensor, rows: _Rows) -> float:
    return fit_temperature(logits_RC, rows.truth_R, rows.weight_R) if rows else 1.0


def _fit_linear(evidence: list[Tensor], rows: _Rows, l2: float, max_steps: int) -> _Linear:
    """Near the plain sum: weights are 1 plus a number that all categories share plus one of their own."""
    num_modalities, num_categories = len(evidence), evidence[0].shape[1]
    shared_M1 = torch.zeros(num_modalities, 1, dtype=torch.float64)
    own_MC = torch.zeros(num_modalities, num_categories, dtype=torch.float64)
    bias_C = torch.zeros(num_categories, dtype=torch.float64)
    parameters = [shared_M1, own_MC, bias_C]

    def loss() -> Tensor:
        logits_RC = _Linear(1 + shared_M1 + own_MC, bias_C)(*evidence)
        pull = torch.stack([each.square().sum() for each in parameters]).sum()
        return _mean_loss(logits_RC, rows.truth_R, rows.weight_R) + l2 / rows.weight_R.sum() * pull

    if rows:
        _minimise(parameters, loss, max_steps)
    return _Linear(1 + shared_M1 + own_MC, bias_C)


def _mean_loss(logits_RC: Tensor, truth_R: Tensor, weight_R: Tensor) -> Tensor:
    loss_R = functional.cross_entropy(logits_RC, truth_R, reduction="none")
    return (loss_R * weight_R).sum() / weight_R.sum()


def _minimise(parameters: list[Tensor], loss: Callable[[], Tensor], max_steps: int) -> None:
    for parameter in parameters:
        parameter.requires_grad_()
    solver = torch.optim.LBFGS(
        parameters, max_iter=max_steps, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        solver.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    solver.step(closure)  # type: ignore[no-untyped-call]
    for parameter in parameters:
        parameter.requires_grad_(False)  # noqa: FBT003 - torch's stub knows no keyword
