"""Fits n-gram bags: the mean of a few learnt bags and of a support vector machine, folded into one table.

All of them are linear in the same weighted n-grams, so what is stored and served is one table, however many
there are; they err differently, so their sum errs less. Letters: N rows, R some of them, C categories.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.errors import ModelError
from models.text.ngram_bag import NgramBag
from training.fitting import FitSettings, Fitter
from training.linear_svm import fit_linear_svm
from training.stages import Fit, StageRows
from training.text_stage import TextStage

__all__ = ["NgramStage", "SvmSettings"]


@dataclass(frozen=True, slots=True)
class SvmSettings:
    """The support vector machine beside the bags.

    Attributes:
        weight: what its margins are multiplied by, about the ratio of a bag's logits to them; 0 for none.
        strength: C of the machine.
    """

    weight: float
    strength: float


class NgramStage(TextStage[NgramBag]):
    """N-gram bags on one vocabulary, their texts turned into features once."""

    def __init__(
        self,
        fitter: Fitter,
        rows: StageRows,
        texts: Sequence[tuple[str, str]],
        build: Callable[[], NgramBag],
        settings: FitSettings,
        *,
        num_bags: int,
        svm: SvmSettings,
    ) -> None:
        """Featurise the texts.

        Args:
            fitter: of the run.
            rows: the N rows.
            texts: (title, description) of each, as received.
            build: a bag ready to learn.
            settings: of every bag.
            num_bags: how many bags are learnt, each from a seed of its own.
            svm: the machine beside them.

        Raises:
            ModelError: there is neither a bag nor a machine.
        """
        if num_bags < 1 and not svm.weight:
            raise ModelError(
                "num_bags=0 and svm_weight=0 leave nothing to learn, choose at least one of them"
            )
        super().__init__(fitter, rows, texts, build, settings)
        self._num_bags = num_bags
        self._svm = svm

    def fit(self, fit: Fit) -> NgramBag:
        """A folded bag that adds up all that were fitted on some of the rows."""
        bags = [self._fit_one(fit, number).fold() for number in range(self._num_bags)]
        weights = [1 / self._num_bags for _ in bags]
        known = fit.learn_from[self.present_N[fit.learn_from]]
        if self._svm.weight and len(np.unique(self._rows.truth_N[known])) > 1:
            machine = self._build().fold()
            seed, strength = self._fitter.seed, self._svm.strength
            fit_linear_svm(machine, self._text, self._rows, known, strength=strength, seed=seed)
            bags.append(machine)
            weights.append(self._svm.weight)
        return _sum(bags, weights)

    def _fit_one(self, fit: Fit, number: int) -> NgramBag:
        suffix = f"-bag-{number + 1}" if self._num_bags > 1 else ""
        return self._fit_network(Fit(f"{fit.name}{suffix}", fit.learn_from, fit.held_out), number)


@torch.no_grad()
def _sum(bags: Sequence[NgramBag], weights: Sequence[float]) -> NgramBag:
    whole = bags[0].fold()
    whole.table.zero_()
    whole.bias_C.zero_()
    for bag, weight in zip(bags, weights, strict=True):
        whole.table.add_(bag.table, alpha=weight)
        whole.bias_C.add_(bag.bias_C, alpha=weight)
    return whole.eval()
