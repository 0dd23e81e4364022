"""One version of a model as a folder: written in one step, never changed, checked byte by byte when read.

```
bundle.json         what it is, how it is built, size and sha256 of every other file (models/manifest.py)
model.safetensors   all weights          labels.json    categories in the order of the logits
golden.json         products and logits  metrics.json   how good it was when written
README.md           model card           split.json    which products it learnt from, and which were held out
                                         and the files of its encoders, such as a tokenizer.json
```

Safetensors, JSON and text only: opening a version runs no code that is stored in it.
Every fault is a `BundleError` that names the folder, the file and what is wrong with it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any, Final

import torch

from models.errors import BundleError
from models.files import staged_folder, write_new_file
from models.fusion import FusionNetwork
from models.golden import GoldenSet
from models.image.base import ImageEncoder
from models.inputs import Product
from models.kinds import KINDS, Kinds
from models.labels import LabelSet
from models.manifest import EncoderEntry, FileEntry, Manifest, decode_json, encode_json, seal_manifest
from models.text.base import TextEncoder
from models.version_files import (
    CARD_FILE,
    GOLDEN_FILE,
    LABELS_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    SPLIT_FILE,
    WEIGHTS_FILE,
    VersionFiles,
    faults_of,
    parse_metrics,
    read_manifest,
    read_metrics,
)
from models.weights import decode_weights, encode_weights

__all__ = [
    "GOLDEN_TOLERANCE",
    "Bundle",
    "BundleMetadata",
    "library_versions",
    "read_bundle",
    "read_manifest",
    "read_metrics",
    "verify_bundle",
    "write_bundle",
]

GOLDEN_TOLERANCE: Final = 1e-3
"""Largest difference allowed between two float32 logits of a golden product, over machines and devices."""

_LIBRARIES: Final = (
    "shelver",
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "safetensors",
    "tokenizers",
    "transformers",
)


@dataclass(frozen=True, slots=True)
class BundleMetadata:
    """What a version keeps beside its network; all of it must be JSON.

    Attributes:
        golden: at least 8 products to check the version with (`models.golden.pick_golden_products`).
        metrics: how good it is, as `Evaluation.to_json` gives it.
        data_fingerprint: what it was trained on: row counts, digests.
        split: side of the split -> product ids; without any there is no such file.
        config: the configuration of the training run.
        card: the model card, Markdown.
    """

    golden: Sequence[Product]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data_fingerprint: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """One version, read and checked: its network is on the CPU, in evaluation mode, without gradients."""

    folder: Path
    manifest: Manifest
    network: FusionNetwork
    labels: LabelSet
    golden: GoldenSet
    metrics: Mapping[str, Any]


def write_bundle(
    folder: Path,
    network: FusionNetwork,
    labels: LabelSet,
    *,
    name: str,
    version: str,
    metadata: BundleMetadata,
) -> Manifest:
    """Write a version; it is read back and scored before anybody can see it.

    Args:
        folder: where it shall be; only an empty folder may be there yet. Missing parents are made.
        network: on any device, in either mode; it is left as it is.
        labels: the network's categories in the order of its logits.
        name: the model's name.
        version: the model's version, a whole number as text.
        metadata: what else to keep.

    Raises:
        BundleError: the folder is there already, a value cannot be stored, a weight is not finite, or what
            was written does not answer as the network did. Nothing is left behind.
    """
    with faults_of(folder):
        files = _files_of(network, labels, metadata)
        manifest = Manifest.create(
            name=name,
            version=version,
            created_at=datetime.now(UTC),
            codes=list(labels.codes),
            text=_encoder_entry(network.text),
            image=_encoder_entry(network.image),
            files={file_name: _file_entry(data) for file_name, data in files.items()},
            data_fingerprint=dict(metadata.data_fingerprint),
            config=dict(metadata.config),
            libraries=library_versions(),
        )
        _write(
            folder, files | {MANIFEST_FILE: seal_manifest(manifest)}, Kinds.of(network.text, network.image)
        )
    return manifest


def read_bundle(folder: Path, *, kinds: Kinds = KINDS) -> Bundle:
    """Read a version, checking every byte of it; costs one pass over its files.

    Raises:
        BundleError: anything is missing, added, cut, changed, unknown or not finite.
    """
    with faults_of(folder):
        return _read(folder, kinds)


def verify_bundle(folder: Path, *, kinds: Kinds = KINDS) -> float:
    """Read a version and score its golden products on the CPU.

    Returns:
        The largest difference between two logits then and now.

    Raises:
        BundleError: the version cannot be read, or its golden products score differently.
    """
    with faults_of(folder):
        return _check_golden(_read(folder, kinds))


def _files_of(network: FusionNetwork, labels: LabelSet, metadata: BundleMetadata) -> dict[str, bytes]:
    if len(labels) != network.num_categories:
        raise BundleError(f"{len(labels)} labels do not name the {network.num_categories} categories")
    golden = GoldenSet.record(network, labels, metadata.golden)
    files = {
        WEIGHTS_FILE: encode_weights(network),
        LABELS_FILE: encode_json(labels.to_json(), LABELS_FILE),
        METRICS_FILE: encode_json(dict(metadata.metrics), METRICS_FILE),
        GOLDEN_FILE: encode_json(golden.to_json(), GOLDEN_FILE),
        CARD_FILE: metadata.card.encode(),
    }
    if metadata.split:
        files[SPLIT_FILE] = encode_json(dict(metadata.split), SPLIT_FILE)
    for encoder in (network.text, network.image):
        for asset, data in (encoder.assets() if encoder is not None else {}).items():
            if asset in files or asset == MANIFEST_FILE:
                raise BundleError(f"two files of the version would be called {asset!r}")
            files[asset] = data
    return files


def _encoder_entry(encoder: TextEncoder | ImageEncoder | None) -> EncoderEntry | None:
    if encoder is None:
        return None
    return EncoderEntry(kind=encoder.kind, config=encoder.config(), assets=sorted(encoder.assets()))


def _file_entry(data: bytes) -> FileEntry:
    return FileEntry(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def library_versions() -> dict[str, str]:
    """What a version was made with: name -> version of each library that matters to it."""
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = distribution_version(library)
        except PackageNotFoundError:
            continue
    return found


def _write(folder: Path, files: Mapping[str, bytes], kinds: Kinds) -> None:
    try:
        with staged_folder(folder) as staging:
            for file_name, data in files.items():
                write_new_file(staging / file_name, data)
            _check_golden(_read(staging, kinds))
    except FileExistsError as error:
        raise BundleError("there is something already, and a version is never written twice") from error


def _read(folder: Path, kinds: Kinds) -> Bundle:
    on_disk = VersionFiles.open(folder)
    manifest = on_disk.manifest
    files = on_disk.read_all()
    labels = LabelSet.from_json(decode_json(files[LABELS_FILE], LABELS_FILE))
    if list(labels.codes) != manifest.codes:
        raise BundleError(f"the categories of {LABELS_FILE} are not those of {MANIFEST_FILE}")
    return Bundle(
        folder=folder,
        manifest=manifest,
        network=_build(manifest, files, kinds),
        labels=labels,
        golden=GoldenSet.from_json(decode_json(files[GOLDEN_FILE], GOLDEN_FILE)),
        metrics=parse_metrics(files[METRICS_FILE]),
    )


def _build(manifest: Manifest, files: Mapping[str, bytes], kinds: Kinds) -> FusionNetwork:
    with torch.random.fork_rng(devices=[]):  # random first weights would move the caller's generator
        text = image = None
        if (entry := manifest.text) is not None:
            text = kinds.build_text(entry.kind, entry.config, {name: files[name] for name in entry.assets})
        if (entry := manifest.image) is not None:
            image = kinds.build_image(entry.kind, entry.config, {name: files[name] for name in entry.assets})
        network = FusionNetwork(text, image, len(manifest.codes))
    decode_weights(network, files[WEIGHTS_FILE])
    if not bool((network.temperature_3 > 0).all()):
        raise BundleError(f"temperatures must be above 0, they are {network.temperature_3.tolist()}")
    return network.eval().requires_grad_(requires_grad=False)


def _check_golden(bundle: Bundle) -> float:
    return bundle.golden.check_network(bundle.network, bundle.labels, GOLDEN_TOLERANCE)
