"""Fits text encoders: one network a fit, whatever its kind.

Shape letters: N rows, R some of them, C categories.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.inputs import TextFeatures
from models.text.base import TextEncoder
from training.data import StageData, TextInputs, batches
from training.fitting import FitSettings, Fitter
from training.stages import Fit, StageRows

__all__ = ["TextStage", "featurize", "text_evidence"]

_TEXTS_AT_A_TIME: Final = 1024
_EVIDENCE_BATCH: Final = 512


Encoder = TypeVar("Encoder", bound=TextEncoder)


class TextStage(Generic[Encoder]):
    """Text encoders of one kind: built anew for each fit, their texts turned into features once."""

    def __init__(
        self,
        fitter: Fitter,
        rows: StageRows,
        texts: Sequence[tuple[str, str]],
        build: Callable[[], Encoder],
        settings: FitSettings,
        finish: Callable[[Encoder], Encoder] = lambda encoder: encoder,
    ) -> None:
        """Featurise the texts.

        Args:
            fitter: of the run.
            rows: the N rows.
            texts: (title, description) of each, as received.
            build: an encoder ready to learn; its random weights come from torch's generator.
            settings: of every fit.
            finish: turns a fitted encoder into the one that is stored.
        """
        self._fitter = fitter
        self._rows = rows
        self._build = build
        self._settings = settings
        self._finish = finish
        self._text = featurize(build(), texts)

    @property
    def present_N(self) -> NDArray[np.bool_]:
        """Whether each row has any text."""
        return self._text.present_B

    @property
    def broken(self) -> Mapping[str, int]:
        """Nothing: any text can be read."""
        return {}

    def fit(self, fit: Fit) -> Encoder:
        """An encoder fitted on some of the rows."""
        return self._finish(self._fit_network(fit))

    def _fit_network(self, fit: Fit, number: int = 0) -> Encoder:
        """The `number`-th network on these rows; each number draws its first weights anew."""
        torch.manual_seed(self._fitter.seed + number)
        encoder = self._build()
        data = StageData(
            TextInputs(self._text),
            self._rows.truth_N,
            self._rows.weight_N,
            train_rows=fit.learn_from[self.present_N[fit.learn_from]],
            validation_rows=fit.held_out[self.present_N[fit.held_out]],
            batch_size=self._settings.batch_size,
            seed=self._fitter.seed + number,
            titles=self._rows.titles,
        )
        self._fitter.fit(fit.name, encoder, data, self._settings)
        return encoder.eval()

    def stored(self, encoder: Encoder) -> Encoder:
        """The encoder itself."""
        return encoder

    def evidence(self, encoder: Encoder, rows: NDArray[np.int64]) -> Tensor:
        """evidence_RC of some rows."""
        return text_evidence(encoder, self._text, rows)


def featurize(encoder: TextEncoder, texts: Sequence[tuple[str, str]]) -> TextFeatures:
    """The features of N texts, a part of them at a time."""
    starts = range(0, max(1, len(texts)), _TEXTS_AT_A_TIME)
    return TextFeatures.concatenate(
        [encoder.featurize(texts[start : start + _TEXTS_AT_A_TIME]) for start in starts]
    )


@torch.inference_mode()
def text_evidence(encoder: TextEncoder, text: TextFeatures, rows: NDArray[np.int64]) -> Tensor:
    """evidence_RC, float32, of some texts; zeros where there is none."""
    inputs = TextInputs(text)
    parts = [encoder(inputs.take(part, torch.device("cpu"))) for part in batches(rows, _EVIDENCE_BATCH)]
    return torch.cat(parts).float() if parts else torch.zeros(0, encoder.num_categories)
