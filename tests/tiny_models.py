"""The smallest encoders that keep every promise of real ones: for tests of what is built around encoders."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from models.bundle import BundleMetadata
from models.errors import BundleError
from models.fusion import FusionCalibration, FusionNetwork
from models.image.base import ImageEncoder
from models.inputs import Product, TensorBatch, TextFeatures
from models.kinds import Kinds
from models.labels import LabelSet
from models.text.base import TextEncoder

NUM_CATEGORIES = 3
LABELS = LabelSet.from_codes([10, 40, "books"], {"10": {"fr": "Livres", "en": "Books"}})


class TinyText(TextEncoder):
    """A bag of the first words, each word a row by the sum of its code points."""

    kind = "tiny_text"
    max_words = 12

    def __init__(
        self, num_categories: int = NUM_CATEGORIES, num_rows: int = 16, stop_word: str = "le"
    ) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.max_characters = 4096
        self.stop_word = stop_word
        self.table_VC = nn.Parameter(torch.randn(num_rows, num_categories))

    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        words = [
            [word for word in f"{title} {description}".lower().split() if word != self.stop_word]
            for title, description in texts
        ]
        read = [text[: self.max_words] for text in words]
        ids = [sum(map(ord, word)) % len(self.table_VC) for text in read for word in text]
        offsets_B1 = np.cumsum([0, *map(len, read)]).astype(np.int64)
        return TextFeatures(
            ids_T=np.array(ids, np.int64),
            weights_T=np.ones(len(ids), np.float32),
            offsets_B1=offsets_B1,
            present_B=np.diff(offsets_B1) > 0,
            truncated_B=np.array([len(text) > self.max_words for text in words], np.bool_),
        )

    def forward(self, batch: TensorBatch) -> Tensor:
        return functional.embedding_bag(
            batch.ids_T,
            self.table_VC,
            batch.offsets_B1,
            mode="sum",
            per_sample_weights=batch.weights_T,
            include_last_offset=True,
        )

    def config(self) -> dict[str, Any]:
        return {"num_categories": self.num_categories, "num_rows": len(self.table_VC)}

    def assets(self) -> dict[str, bytes]:
        return {"stop_words.txt": self.stop_word.encode()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        if "stop_words.txt" not in assets:
            raise BundleError("stop_words.txt is missing")
        return cls(**config, stop_word=assets["stop_words.txt"].decode())


class TinyImage(ImageEncoder):
    """Four cells, each described by its mean colour."""

    kind = "tiny_image"
    image_size = 8
    grid = (2, 2)

    def __init__(self, num_categories: int = NUM_CATEGORIES) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.linear = nn.Linear(3, num_categories)

    def features_NPD(self, pixels_NHWK: Tensor) -> Tensor:
        pixels_NKHW = pixels_NHWK.permute(0, 3, 1, 2).float() / 255
        return functional.avg_pool2d(pixels_NKHW, 4).flatten(2).transpose(1, 2)

    def head(self, features_NPD: Tensor) -> Tensor:
        evidence_NPC: Tensor = self.linear(features_NPD) / 4
        return evidence_NPC

    def config(self) -> dict[str, Any]:
        return {"num_categories": self.num_categories}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        if assets:
            raise BundleError(f"unknown files: {sorted(assets)}")
        return cls(**config)


TINY_KINDS = Kinds(text={TinyText.kind: TinyText}, image={TinyImage.kind: TinyImage})


def tiny_network(*, text: bool = True, image: bool = True, seed: int = 0) -> FusionNetwork:
    """A network of the tiny encoders with a calibration in which no two numbers are the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FusionNetwork(TinyText() if text else None, TinyImage() if image else None, NUM_CATEGORIES)
        network.calibrate(
            FusionCalibration(
                text_weight_3C=1 + torch.rand(3, NUM_CATEGORIES),
                image_weight_3C=1 + torch.rand(3, NUM_CATEGORIES),
                bias_3C=torch.randn(3, NUM_CATEGORIES),
                text_mean_C=torch.randn(NUM_CATEGORIES),
                image_mean_C=torch.randn(NUM_CATEGORIES),
                temperature_3=torch.tensor([1.5, 2.0, 0.5]),
            )
        )
    return network.eval()


def picture(colour: tuple[int, int, int] = (200, 30, 60), format_name: str = "PNG") -> bytes:
    """A small picture whose left half is of one colour and whose right half is white."""
    image = Image.new("RGB", (20, 16), "white")
    image.paste(colour, (0, 0, 10, 16))
    file = io.BytesIO()
    image.save(file, format_name)
    return file.getvalue()


def products() -> list[Product]:
    """One of each kind: both, text only, picture only, nothing, a broken picture; nine in all."""
    return [
        Product("Robot de piscine", "Nettoie <b>tout</b>", picture()),
        Product("Le livre de la jungle", image=picture((0, 200, 0), "JPEG")),
        Product("Console", "Jeux vidéo"),
        Product("Coussin", image=b"not a picture"),
        Product(image=picture((20, 20, 250))),
        Product(image=picture((250, 250, 0), "JPEG")),
        Product(),
        Product("Lot de 3 livres", "été", picture((1, 2, 3))),
        Product("Figurine", ""),
    ]


def metadata(**changes: Any) -> BundleMetadata:
    """What a version keeps beside its network."""
    return BundleMetadata(
        **{
            "golden": products(),
            "metrics": {"weighted_f1": 0.5, "rows": 9},
            "data_fingerprint": {"rows": 9},
            "config": {"seed": 0},
            "card": "# Tiny\n",
            **changes,
        }
    )


def write_tiny_bundle(
    folder: Path,
    *,
    name: str = "tiny",
    version: str = "1",
    seed: int = 0,
    text: bool = True,
    image: bool = True,
) -> FusionNetwork:
    """Write a tiny version to a folder; returns its network."""
    from models.bundle import write_bundle

    network = tiny_network(text=text, image=image, seed=seed)
    write_bundle(folder, network, LABELS, name=name, version=version, metadata=metadata())
    return network
