"""Owen values of patches of a picture's own pixels, by evaluations within a budget."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.explain.base import ImageAttributions, ImageExplainer
from models.explain.owen import grid_tree, owen_values
from models.image.base import ImageEncoder

__all__ = ["PATCH_PX", "PixelsExplainer", "blurred"]

PATCH_PX = 8
"""Side of a patch, the smallest part that is told apart."""

_BLUR_SHARE = 1 / 12
"""Standard deviation of the blur, of the side of the picture: colours stay, shapes go."""
_BATCH_SIZE = 32


class PixelsExplainer(ImageExplainer):
    """Owen values over a quadtree of patches.

    The game: an absent patch is that of the picture blurred. Patches that the budget is too small to tell
    apart share their value equally.
    """

    method: ClassVar[str] = "pixels (partition over patches, blurred where absent)"

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder
        self._side = encoder.image_size // PATCH_PX
        self._tree = grid_tree(self._side, self._side)

    @torch.inference_mode()
    def explain(
        self, pixels_NHWK: NDArray[np.uint8], columns_K: NDArray[np.int64], max_evaluations: int
    ) -> list[ImageAttributions]:
        """Attributions of N pictures, one after the other."""
        return [self._explain(pixels_HWK, columns_K, max_evaluations) for pixels_HWK in pixels_NHWK]

    def _explain(
        self, pixels_HWK: NDArray[np.uint8], columns_K: NDArray[np.int64], max_evaluations: int
    ) -> ImageAttributions:
        device = next(self._encoder.parameters()).device
        picture, background = (
            torch.from_numpy(each).to(device) for each in (pixels_HWK, blurred(pixels_HWK))
        )

        def game(masks_MP: NDArray[np.bool_]) -> NDArray[np.float64]:
            present = torch.from_numpy(masks_MP.reshape(-1, self._side, self._side)).to(device)
            present = present.repeat_interleave(PATCH_PX, 1).repeat_interleave(PATCH_PX, 2)
            masked = torch.where(present[..., None], picture, background)
            evidence_MC = self._encoder.head(self._encoder.features_NPD(masked)).sum(dim=1)
            evidence_MK: NDArray[np.float64] = evidence_MC.double().cpu().numpy()[:, columns_K]
            return evidence_MK

        values_PK, base_K, num_evaluations = owen_values(
            game, self._tree, max_evaluations=max_evaluations, batch_size=_BATCH_SIZE
        )
        return ImageAttributions(
            values_PK.reshape(self._side, self._side, -1), base_K, num_evaluations=num_evaluations
        )


def blurred(pixels_HWK: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of which nothing but its colours is left; uint8, of the same shape."""
    # Half a second of each worker's start otherwise, for a method that few ask for.
    from scipy.ndimage import gaussian_filter

    sigma = pixels_HWK.shape[0] * _BLUR_SHARE
    smooth_HWK: NDArray[np.float32] = gaussian_filter(
        pixels_HWK.astype(np.float32), sigma=(sigma, sigma, 0), mode="nearest"
    )
    return smooth_HWK.round().astype(np.uint8)
