"""What every image encoder offers: features of the cells of a picture, and evidence linear in them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from models.image.decoding import Resize
from models.inputs import TensorBatch

__all__ = ["ImageEncoder"]


class ImageEncoder(nn.Module, ABC):
    """Turns pictures into evidence for each category, cell by cell of a grid over the picture.

    Letters: N pictures, P cells (row by row from the top left), D features of a cell, C categories.
    The evidence of a picture is the sum over its cells, and `head` is linear, so what a cell adds is exact.
    Stored and rebuilt like a text encoder: `config()`, `assets()`, state dict.
    """

    kind: ClassVar[str]
    """The name that a stored version gives this class."""

    num_categories: int
    """C."""

    image_size: int
    """Height and width of the pictures it takes, in pixels."""

    resize: Resize = Resize.FIT
    """How pictures are brought to that size."""

    grid: tuple[int, int]
    """Rows and columns of cells; P is their product."""

    @abstractmethod
    def features_NPD(self, pixels_NHWK: Tensor) -> Tensor:
        """Features of each cell, float32, of uint8 RGB pictures, whose scale it brings to its own.

        As long as the backbone is frozen these are constants of a picture and may be cached, also as their
        mean over P: `head` is linear.
        """

    @abstractmethod
    def head(self, features_NPD: Tensor) -> Tensor:
        """evidence_NPC of features_NPD: (W f_p + b) / P, so that the sum over P is W mean(f) + b."""

    def forward(self, batch: TensorBatch) -> Tensor:
        """evidence_NPC, float32, of the N pictures of the batch."""
        evidence_NPC: Tensor = self.head(self.features_NPD(batch.pixels_NHWK))
        return evidence_NPC

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """All that `from_config` needs to build the same architecture, ready for JSON."""

    def assets(self) -> dict[str, bytes]:
        """Further files of this encoder by name; none unless overridden."""
        return {}

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        """An encoder of the same architecture, its parameters and buffers yet to be loaded.

        Raises:
            BundleError: the configuration is not one that `config` writes, or a file is missing.
        """
