"""Pictures of a catalogue, read once: as features of a frozen encoder, kept on disk, or as pixels.

Shape letters: N rows of the catalogue, U pictures that can be used, D features; H, W pixels, K colour channels.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.catalogue_products import product_of
from models.files import replace_file
from models.image.base import ImageEncoder
from models.inputs import PreparedBatch
from models.preprocessing import Preprocessor
from schemas.catalogue import CatalogueRow
from training.data import FeatureInputs, PictureInputs
from training.progress import track

__all__ = ["Pictures", "has_constant_features", "read_pictures"]

_LOG = logging.getLogger(__name__)
_CHUNK: Final = 64
_FORMAT: Final = 1
"""Raised when what is kept, or how pictures are decoded, changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The pictures of a catalogue that can be used.

    Attributes:
        inputs: the U pictures.
        rows_U: int64, the catalogue row of each, rising.
        unusable: reason -> how many pictures were left out for it.
    """

    inputs: FeatureInputs | PictureInputs
    rows_U: NDArray[np.int64]
    unusable: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What came of the pictures of some rows: an array of U entries, and whose they are."""

    values: Tensor
    rows_U: Tensor
    unusable: Mapping[str, int]


def has_constant_features(encoder: ImageEncoder) -> bool:
    """Whether nothing before the head of an encoder learns, so that its features can be kept."""
    size_px, device = encoder.image_size, next(encoder.parameters()).device
    pixels_NHWK = torch.zeros((1, size_px, size_px, 3), dtype=torch.uint8, device=device)
    return not encoder.eval().features_NPD(pixels_NHWK).requires_grad


def read_pictures(
    rows: Sequence[CatalogueRow],
    picture_rows: NDArray[np.int64],
    encoder: ImageEncoder,
    *,
    device: torch.device,
    cache: Path | None = None,
) -> Pictures:
    """Decode the pictures of a catalogue and, when the encoder is frozen, reduce them to its features.

    Features are the mean over the cells, all that a linear head needs. They are kept in `cache` under the
    digest of the encoder, its preprocessing and the bytes of every picture, so a second run with the same of
    all three reads them back. Pixels are not kept; they take U * H * W * K bytes of memory.

    Args:
        rows: the catalogue.
        picture_rows: which rows have a picture.
        encoder: it is moved to `device`.
        device: where features are computed.
        cache: a folder, made when missing; None keeps nothing.
    """
    encoder = encoder.to(device)
    if not has_constant_features(encoder):
        pixels = _read(rows, picture_rows, encoder, _pixels)
        return Pictures(PictureInputs(pixels.values.numpy()), pixels.rows_U.numpy(), pixels.unusable)
    path = None
    if cache is not None:
        path = cache / f"features-{_digest(rows, picture_rows, encoder)}.safetensors"
    read = _load(path)
    if read is None:
        read = _read(rows, picture_rows, encoder, lambda prepared: _features(encoder, prepared, device))
        _store(path, read)
    return Pictures(FeatureInputs(read.values), read.rows_U.numpy(), read.unusable)


def _read(
    rows: Sequence[CatalogueRow],
    picture_rows: NDArray[np.int64],
    encoder: ImageEncoder,
    reduce: Callable[[PreparedBatch], Tensor],
) -> _Read:
    preprocessor = Preprocessor(None, encoder)
    values, used, unusable = [], [], Counter[str]()
    chunks = np.array_split(picture_rows, max(1, -(-len(picture_rows) // _CHUNK)))
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        for chunk in track(chunks, "pictures"):
            prepared = preprocessor.prepare([product_of(rows[row]) for row in chunk], executor)
            values.append(reduce(prepared))
            used.append(torch.from_numpy(chunk[prepared.image_rows_N]))
            unusable.update(reason.value for reason in prepared.image_reasons if reason is not None)
    return _Read(torch.cat(values), torch.cat(used), dict(unusable))


def _pixels(prepared: PreparedBatch) -> Tensor:
    return torch.from_numpy(prepared.pixels_NHWK)


@torch.inference_mode()
def _features(encoder: ImageEncoder, prepared: PreparedBatch, device: torch.device) -> Tensor:
    features_NPD = encoder.features_NPD(prepared.to_tensors(device).pixels_NHWK)
    # A copy outside inference mode's tensors, which later training may save for its backward pass.
    return torch.from_numpy(features_NPD.mean(dim=1).cpu().numpy())


def _digest(rows: Sequence[CatalogueRow], picture_rows: NDArray[np.int64], encoder: ImageEncoder) -> str:
    """Of the encoder but for what learns, of how pictures are prepared for it, and of the pictures."""
    learning = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    config = {key: value for key, value in encoder.config().items() if key != "num_categories"}
    digest = hashlib.sha256(json.dumps([_FORMAT, encoder.kind, config], sort_keys=True).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        if name not in learning:
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for row in picture_rows:
        product = product_of(rows[row])
        digest.update(row.tobytes() + hashlib.sha256(product.image or b"").digest())
    return digest.hexdigest()[:24]


def _load(path: Path | None) -> _Read | None:
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            unusable = json.loads(file.metadata()["unusable"])
            read = _Read(file.get_tensor("features"), file.get_tensor("rows"), unusable)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        _LOG.warning("kept features %s cannot be read and are computed again: %s", path, error)
        return None
    _LOG.info("pictures: features read from %s", path)
    return read


def _store(path: Path | None, read: _Read) -> None:
    if path is None:
        return
    metadata = {"unusable": json.dumps(dict(read.unusable))}
    replace_file(path, save({"features": read.values, "rows": read.rows_U}, metadata))
