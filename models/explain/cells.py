"""Exact Shapley values of the cells of a picture's last map, in one forward."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.explain.base import ImageAttributions, ImageExplainer
from models.image.base import ImageEncoder

__all__ = ["CellsExplainer"]


class CellsExplainer(ImageExplainer):
    """Shapley values of cells, exact: the evidence of a picture is the sum of that of its cells.

    The game: an absent cell says what a cell of the mean training picture says. The value of a present one is
    what it says beyond that (linearity; Shapley 1953), which reaches as far as its receptive field does.
    """

    method: ClassVar[str] = "cells (exact on the last map)"

    def __init__(self, encoder: ImageEncoder, mean_C: Tensor) -> None:
        """Explain an encoder.

        Args:
            encoder: its head is linear.
            mean_C: the mean evidence of the training pictures.
        """
        self._encoder = encoder
        self._mean_C = mean_C.double().cpu().numpy()

    @torch.inference_mode()
    def explain(
        self,
        pixels_NHWK: NDArray[np.uint8],
        columns_K: NDArray[np.int64],
        max_evaluations: int = 0,  # noqa: ARG002 - one forward tells all
    ) -> list[ImageAttributions]:
        """Attributions of N pictures, all at once."""
        encoder = self._encoder
        pixels = torch.from_numpy(pixels_NHWK).to(next(encoder.parameters()).device)
        evidence_NPC = encoder.head(encoder.features_NPD(pixels)).double().cpu().numpy()
        base_K = self._mean_C[columns_K]
        values_NPK = evidence_NPC[..., columns_K] - base_K / evidence_NPC.shape[1]
        rows, columns = encoder.grid
        return [
            ImageAttributions(values_PK.reshape(rows, columns, -1), base_K, num_evaluations=1)
            for values_PK in values_NPK
        ]
