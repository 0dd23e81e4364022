"""Which class stands behind the name of an encoder: the one table. A new kind is its file and a line here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from models.errors import UnsupportedKindError, refused_as
from models.image.backbones import TorchvisionBackbone
from models.image.base import ImageEncoder
from models.text.base import TextEncoder
from models.text.embedding_bag import EmbeddingBagEncoder
from models.text.ngram_bag import NgramBag
from models.text.transformer import TransformerEncoder

__all__ = ["KINDS", "Kinds"]

_Encoder = TypeVar("_Encoder")


@dataclass(frozen=True, slots=True)
class Kinds:
    """The encoders that a stored version may ask for."""

    text: Mapping[str, type[TextEncoder]]
    image: Mapping[str, type[ImageEncoder]]

    @classmethod
    def of(cls, text: TextEncoder | None, image: ImageEncoder | None) -> Self:
        """The kinds of these encoders alone."""
        return cls(
            text={} if text is None else {text.kind: type(text)},
            image={} if image is None else {image.kind: type(image)},
        )

    def build_text(self, kind: str, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> TextEncoder:
        """A text encoder of a kind, its weights still to be filled.

        Raises:
            UnsupportedKindError: no such kind.
            BundleError: the kind cannot be built from this configuration and these files.
        """
        encoder = _lookup(self.text, kind, "text")
        with refused_as(f"the text encoder {kind!r} cannot be built from its configuration"):
            return encoder.from_config(config, assets)

    def build_image(self, kind: str, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> ImageEncoder:
        """An image encoder of a kind, its weights still to be filled.

        Raises:
            UnsupportedKindError: no such kind.
            BundleError: the kind cannot be built from this configuration and these files.
        """
        encoder = _lookup(self.image, kind, "image")
        with refused_as(f"the image encoder {kind!r} cannot be built from its configuration"):
            return encoder.from_config(config, assets)


KINDS: Final = Kinds(
    text={kind.kind: kind for kind in (NgramBag, EmbeddingBagEncoder, TransformerEncoder)},
    image={TorchvisionBackbone.kind: TorchvisionBackbone},
)
"""The kinds of this release."""


def _lookup(table: Mapping[str, type[_Encoder]], kind: str, modality: str) -> type[_Encoder]:
    encoder = table.get(kind)
    if encoder is None:
        known = ", ".join(sorted(table))
        raise UnsupportedKindError(
            f"{modality} encoder kind {kind[:40]!r} is unknown, this release has {known}: update Shelver"
        )
    return encoder
