"""Fits the fusion: how far text and picture count for each category, and how sure the sum may be.

The evidence that it learns from is out of fold: it comes from encoders that never saw the row. Evidence of an
encoder on its own training rows would be far too sure, and the fusion would trust it too much (stacking;
Wolpert 1992, "Stacked generalization"). The temperature is that of Guo et al. 2017, section 4.2.

Shape letters: B rows, R rows of a view, C categories. Sums are in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from models.fusion import Evidence, FusionCalibration, Presence

__all__ = ["fit_fusion", "fit_temperature"]

_TEMPERATURE_BOUNDS = (0.05, 20.0)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """Rows as the fusion sees them when they have the same modalities: what is missing is its mean."""

    text_RC: Tensor
    image_RC: Tensor
    truth_R: Tensor
    weight_R: Tensor

    def weighted(self, weight: float) -> "_View":
        return replace(self, weight_R=weight * self.weight_R)

    @classmethod
    def joined(cls, views: "Sequence[_View]") -> Self:
        return cls(
            torch.cat([view.text_RC for view in views]),
            torch.cat([view.image_RC for view in views]),
            torch.cat([view.truth_R for view in views]),
            torch.cat([view.weight_R for view in views]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """What L-BFGS moves: two weights that all categories share, and each category's deviations and bias."""

    shared_2: Tensor
    deviation_2C: Tensor
    bias_C: Tensor

    @classmethod
    def initial(cls, num_categories: int) -> Self:
        return cls(
            torch.ones(2, dtype=torch.float64),
            torch.zeros(2, num_categories, dtype=torch.float64),
            torch.zeros(num_categories, dtype=torch.float64),
        )

    def parameters(self) -> list[Tensor]:
        return [self.shared_2, self.deviation_2C, self.bias_C]

    def logits_RC(self, view: _View) -> Tensor:
        text_C, image_C = self.shared_2[:, None] + self.deviation_2C
        logits_RC: Tensor = text_C * view.text_RC + image_C * view.image_RC + self.bias_C
        return logits_RC

    def penalty(self) -> Tensor:
        return self.deviation_2C.square().sum() + self.bias_C.square().sum()


def fit_fusion(
    evidence: Evidence,
    truth_B: Tensor,
    weight_B: Tensor,
    *,
    l2: float = 0.001,
    alone_share: float = 0.25,
    both_weight: float = 5.0,
    max_steps: int = 200,
) -> FusionCalibration:
    """Weights, bias, means and temperatures that make out-of-fold evidence most likely.

    Minimises the mean negative log likelihood plus `l2` times the squared distances of each modality's
    weights from a common one, and of the biases from 0; convex, solved by L-BFGS. A product with text and
    picture counts `both_weight` times, since only such products tell how far one may be trusted beside the
    other, and a catalogue may have few of them; and `alone_share` as much as one that has only its text, and
    as one that has only its picture. Cost: O(steps B C).

    Args:
        evidence: out of fold, any dtype.
        truth_B: int64, column of each row's category; no -1.
        weight_B: how much each row counts.
        l2: strength of the pull.
        alone_share: 0 leaves out what products with both would be with either alone.
        both_weight: of products with both; 1 counts them like all others.
        max_steps: of L-BFGS.

    Returns:
        float32 values for `FusionNetwork.calibrate`. A modality that no row has keeps weight 1 and mean 0.

    Raises:
        ValueError: no row has text or a picture.
    """
    text_mean_C = _mean_of_present(evidence.text_BC, evidence.text_present_B)
    image_mean_C = _mean_of_present(evidence.image_BC, evidence.image_present_B)
    views = _views_by_presence(evidence, truth_B, weight_B, (text_mean_C, image_mean_C), alone_share)
    views[Presence.BOTH] = views[Presence.BOTH].weighted(both_weight)
    every = _View.joined(views)
    if not bool((every.weight_R > 0).any()):
        raise ValueError("no training row has text or a picture, so there is nothing to fit the fusion on")
    weights = _fit_weights(every, l2, max_steps)
    overall = fit_temperature(weights.logits_RC(every), every.truth_R, every.weight_R)
    temperatures = [
        fit_temperature(weights.logits_RC(view), view.truth_R, view.weight_R)
        if len(view.truth_R)
        else overall
        for view in views
    ]
    text_weight_C, image_weight_C = (weights.shared_2[:, None] + weights.deviation_2C).float()
    return FusionCalibration(
        text_weight_C=text_weight_C,
        image_weight_C=image_weight_C,
        bias_C=weights.bias_C.float(),
        text_mean_C=text_mean_C.float(),
        image_mean_C=image_mean_C.float(),
        temperature_3=torch.tensor(temperatures),
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


def _mean_of_present(evidence_BC: Tensor, present_B: Tensor) -> Tensor:
    total_C = evidence_BC.double()[present_B].sum(dim=0)
    return total_C / max(1, int(present_B.sum()))


def _views_by_presence(
    evidence: Evidence,
    truth_B: Tensor,
    weight_B: Tensor,
    means: tuple[Tensor, Tensor],
    alone_share: float,
) -> list[_View]:
    """Rows seen with their text alone, their picture alone, and both, in the order of `Presence`."""
    has_text_B, has_image_B = evidence.text_present_B, evidence.image_present_B
    both_B = has_text_B & has_image_B
    share_B = torch.where(both_B, alone_share, 1.0) * weight_B.double()
    text_BC, image_BC = evidence.text_BC.double(), evidence.image_BC.double()
    text_mean_BC, image_mean_BC = (mean_C.expand_as(text_BC) for mean_C in means)
    seen = (
        (has_text_B & (share_B > 0), text_BC, image_mean_BC, share_B),
        (has_image_B & (share_B > 0), text_mean_BC, image_BC, share_B),
        (both_B, text_BC, image_BC, weight_B.double()),
    )
    return [
        _View(text[rows_B], image[rows_B], truth_B[rows_B], weight[rows_B])
        for rows_B, text, image, weight in seen
    ]


def _fit_weights(view: _View, l2: float, max_steps: int) -> _Weights:
    weights = _Weights.initial(view.text_RC.shape[1])

    def loss() -> Tensor:
        return _mean_loss(weights.logits_RC(view), view.truth_R, view.weight_R) + l2 * weights.penalty()

    _minimise(weights.parameters(), loss, max_steps)
    return weights


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
