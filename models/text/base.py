"""What every text encoder offers: features in numpy for the threads, evidence in torch for the device."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.nn import functional

from models.inputs import TensorBatch, TextFeatures

__all__ = ["TextEncoder", "weighted_sums"]


class TextEncoder(nn.Module, ABC):
    """Turns the texts of products into evidence for each category.

    `featurize` is pure and safe to call from any thread; `forward` belongs to the thread of the device.
    An encoder is stored as `config()` (JSON), `assets()` (files) and its state dict, and comes back as
    `from_config(config, assets)` followed by `load_state_dict`.
    """

    kind: ClassVar[str]
    """The name that a stored version gives this class."""

    num_categories: int
    """C."""

    max_characters: int
    """Code points of a cleaned title, and of a cleaned description, that are read."""

    @abstractmethod
    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        """Features of B (title, description) pairs, as received: cleaning is done here.

        A text's features do not depend on the others of the call. Time is bounded per text, hostile or not.
        """

    @abstractmethod
    def forward(self, batch: TensorBatch) -> Tensor:
        """evidence_BC, float32: what the text says for each category; zeros in rows without text."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """All that `from_config` needs to build the same architecture, ready for JSON."""

    def assets(self) -> dict[str, bytes]:
        """Further files of this encoder by name, such as `tokenizer.json`; none unless overridden."""
        return {}

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        """An encoder of the same architecture, its parameters and buffers yet to be loaded.

        Raises:
            BundleError: the configuration is not one that `config` writes, or a file is missing.
        """


def weighted_sums(table_VD: Tensor, batch: TensorBatch) -> Tensor:
    """sums_BD: for each text, the rows of a table at its ids, each times its weight; float32."""
    sums_BD: Tensor = functional.embedding_bag(
        batch.ids_T,
        table_VD,
        batch.offsets_B1,
        mode="sum",
        per_sample_weights=batch.weights_T,
        include_last_offset=True,
    )
    return sums_BD
