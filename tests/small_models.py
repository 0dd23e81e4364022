"""A small version of an encoder of this release, texts only, that no training is needed for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models.bundle import BundleMetadata, write_bundle
from models.fusion import FusionCalibration, FusionNetwork
from models.inputs import Product
from models.labels import LabelSet
from models.repository import ModelLocation, ModelRepository
from models.text.embedding_bag import EmbeddingBagEncoder
from models.text.tokenizer import Tokenizer
from training.tokenizer_sources import load_tokenizer

LABELS = LabelSet.from_codes(["chairs", "robots"])
TITLES = ["robot piscine electrique", "chaise bois", "robot tondeuse", "chaise pliante jardin"] * 2


def small_tokenizer(*more: str) -> Tokenizer:
    """A tokenizer learnt from a few titles, and more texts."""
    return load_tokenizer("catalogue", [(title, "") for title in [*TITLES, *more]] * 3, vocabulary_size=90)


def small_network(tokenizer: Tokenizer | None = None, *, swapped: bool = False) -> FusionNetwork:
    """Tells robots from chairs by one word; `swapped` takes each for the other."""
    tokenizer = tokenizer or small_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = EmbeddingBagEncoder(tokenizer, len(LABELS), embedding_dim=4)
        network = FusionNetwork(encoder, None, len(LABELS))
    with torch.no_grad():
        encoder.table_VD.zero_()
        for column, word in enumerate(["chaise", "robot"]):
            encoder.table_VD[tokenizer.encode(word, max_tokens=9)[0], column] = 1.0
        encoder.weight_CD.copy_(torch.eye(2, 4).flip(0) if swapped else torch.eye(2, 4))
    network.calibrate(
        FusionCalibration(
            text_weight_3C=torch.ones(3, 2),
            image_weight_3C=torch.zeros(3, 2),
            bias_3C=torch.zeros(3, 2),
            text_mean_C=torch.zeros(2),
            image_mean_C=torch.zeros(2),
            temperature_3=torch.ones(3),
        )
    )
    return network.eval()


def write_small_bundle(
    folder: Path,
    network: FusionNetwork | None = None,
    *,
    name: str = "small",
    version: str = "1",
    **metadata: Any,
) -> None:
    """Write a version to a folder."""
    write_bundle(
        folder,
        network or small_network(),
        LABELS,
        name=name,
        version=version,
        metadata=BundleMetadata(golden=[Product(title) for title in TITLES], **metadata),
    )


def publish_small(
    repository: ModelRepository,
    *,
    weighted_f1: float = 0.9,
    held_out: str = "a",
    train: Sequence[str] = (),
    swapped: bool = False,
) -> ModelLocation:
    """Publish a version that scored so on the rows held out that `held_out` stands for."""
    split: Mapping[str, Sequence[str]] = {"train": train, "val": ["v-1"]}
    return repository.publish(
        "small",
        lambda folder, version: write_small_bundle(
            folder,
            small_network(swapped=swapped),
            version=version,
            metrics={"weighted_f1": weighted_f1, "rows": 100},
            data_fingerprint={"validation_sha256": held_out},
            split=split if train else {},
        ),
    )
