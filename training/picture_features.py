"""What the frozen part of a backbone makes of pictures, computed once and kept on disk between runs.

The cache is a folder for each frozen part, named by a digest of its weights and of everything else that the
maps depend on; in it safetensors files of a few hundred pictures each, known by the digest of their bytes. A
file is written whole or not at all, so an interrupted run has only its last pictures to compute again, and a
damaged file is noticed, removed and computed again.

Letters: N pictures, V variants (as it is, mirrored), H and W rows and columns of the map, D its channels.
"""

import hashlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as format_safetensors
from torch import Tensor

from models.errors import ImageError, ImageReason
from models.files import replace_file
from models.image.backbones import TorchvisionBackbone
from models.image.decoding import ImageLimits, decode_image
from training.data import batches

__all__ = ["FeatureCache", "FrozenPart", "PictureMaps", "compute_maps", "decode_pictures"]

logger = logging.getLogger(__name__)

_FORMAT: Final = 1
_PICTURES_AT_A_TIME: Final = 32
_PICTURES_A_FILE: Final = 256

Read = Callable[[], bytes | ImageReason]
"""Gives the bytes of a picture, or why there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureMaps:
    """Maps of the pictures that could be used.

    Attributes:
        found: int64, which of the pictures asked for these are, rising.
        maps_NVHWD: bfloat16; float32 with H = W = 1 where the whole backbone is frozen: the mean of its map;
            uint8 pixels where all of it learns.
        broken: why and how many pictures could not be used.
    """

    found: NDArray[np.int64]
    maps_NVHWD: Tensor
    broken: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class FrozenPart:
    """The blocks of a backbone before those that learn.

    Attributes:
        backbone: in evaluation mode.
        num_tuned: how many blocks at its end are left out; 0 for the whole backbone.
        mirrored: also make the map of the picture's mirror image.
        bf16: compute in bfloat16, twice as fast where the processor has it.
    """

    backbone: TorchvisionBackbone
    num_tuned: int
    mirrored: bool
    bf16: bool = False

    @torch.inference_mode()
    def maps_NVHWD(self, pixels_NHWK: NDArray[np.uint8]) -> Tensor:
        """Maps of decoded pictures, rounded as they are kept."""
        variants = [pixels_NHWK, pixels_NHWK[:, :, ::-1].copy()] if self.mirrored else [pixels_NHWK]
        if self.num_tuned == len(self.backbone.blocks):
            return torch.from_numpy(np.stack(variants, axis=1))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            maps = [
                self.backbone.stem_NDHW(torch.from_numpy(pixels), num_tuned=self.num_tuned)
                for pixels in variants
            ]
        stacked_NVHWD = torch.stack(maps, dim=1).permute(0, 1, 3, 4, 2)
        if not self.num_tuned:
            return stacked_NVHWD.float().mean(dim=(2, 3), keepdim=True)
        return stacked_NVHWD.to(torch.bfloat16).contiguous()

    def digest(self) -> str:
        """Of all that the maps depend on but the pictures."""
        blocks = self.backbone.blocks
        facts = {
            "format": _FORMAT,
            "architecture": self.backbone.architecture,
            "config": self.backbone.config() | {"num_categories": 0},
            "num_tuned": self.num_tuned,
            "mirrored": self.mirrored,
            "bf16": self.bf16,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for block in blocks[: len(blocks) - self.num_tuned]:
            for name, tensor in block.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]


class FeatureCache:
    """Maps by the digest of their picture, in the folder of one frozen part."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[str, Tensor] = {}

    def load(self, wanted: set[str]) -> dict[str, Tensor]:
        """map_VHWD of each wanted picture that is there."""
        found: dict[str, Tensor] = {}
        for path in sorted(self._folder.glob("*.safetensors")):
            try:
                found.update(_read_file(path, wanted - found.keys()))
            except (SafetensorError, KeyError, ValueError, OSError) as error:
                logger.warning("%s is damaged (%s); its pictures are computed again", path, str(error)[:80])
                path.unlink(missing_ok=True)
        return found

    def add(self, maps: Mapping[str, Tensor]) -> None:
        """Keep maps; they are written a few hundred at a time."""
        self._waiting.update(maps)
        if len(self._waiting) >= _PICTURES_A_FILE:
            self.flush()

    def flush(self) -> None:
        """Write what was kept and is not written yet."""
        if not self._waiting:
            return
        names = list(self._waiting)
        maps = torch.stack([self._waiting[name] for name in names])
        facts = {"pictures": json.dumps(names), "sha256": _digest_of(maps)}
        data = format_safetensors({"maps": maps}, metadata=facts)
        replace_file(self._folder / f"{secrets.token_hex(8)}.safetensors", data)
        self._waiting = {}


def compute_maps(
    part: FrozenPart,
    pictures: Sequence[Read],
    *,
    cache_dir: Path | None = None,
    num_threads: int = 2,
    advance: Callable[[int], object] = lambda _num_pictures: None,
) -> PictureMaps:
    """Maps of pictures, those that are not in the cache computed.

    Args:
        part: what computes them.
        pictures: read one after the other, never all at once.
        cache_dir: folder of all caches; None keeps nothing.
        num_threads: that read and decode pictures.
        advance: told the number of pictures as they are done.
    """
    cache = None if cache_dir is None else FeatureCache(cache_dir / part.digest())
    names, reasons = _digests(pictures, num_threads)
    known = {} if cache is None else cache.load({name for name in names if name is not None})
    missing = np.array([place for place, name in enumerate(names) if name and name not in known], np.int64)
    advance(len(names) - len(missing))
    for places in batches(missing, _PICTURES_AT_A_TIME):
        fresh, faults = _compute(part, {str(names[place]): pictures[place] for place in places}, num_threads)
        known.update(fresh)
        reasons.update(faults)
        if cache is not None:
            cache.add(fresh)
        advance(len(places))
    if cache is not None:
        cache.flush()
    found = [place for place, name in enumerate(names) if name in known]
    maps = [known[str(names[place])] for place in found]
    return PictureMaps(
        np.array(found, np.int64), torch.stack(maps) if maps else torch.zeros(0), _by_name(reasons)
    )


def _compute(
    part: FrozenPart, pictures: Mapping[str, Read], num_threads: int
) -> tuple[dict[str, Tensor], Counter[ImageReason]]:
    """Maps of pictures by their digest, and why there are none of the others."""
    pixels, faults = decode_pictures([*pictures.values()], part.backbone, num_threads)
    if not pixels:
        return {}, faults
    names = list(pictures)
    maps_NVHWD = part.maps_NVHWD(np.stack([*pixels.values()]))
    return dict(zip((names[place] for place in pixels), maps_NVHWD, strict=True)), faults


def decode_pictures(
    pictures: Sequence[Read], backbone: TorchvisionBackbone, num_threads: int = 2
) -> tuple[dict[int, NDArray[np.uint8]], Counter[ImageReason]]:
    """Pixels that the backbone takes by the place of their picture, and why others cannot be used."""
    limits = ImageLimits()

    def decode(read: Read) -> NDArray[np.uint8] | ImageReason:
        data = read()
        try:
            return (
                data
                if isinstance(data, ImageReason)
                else decode_image(data, backbone.image_size, limits, backbone.resize)
            )
        except ImageError as error:
            return error.reason

    with ThreadPoolExecutor(num_threads) as threads:
        results = list(threads.map(decode, pictures))
    pixels = {place: each for place, each in enumerate(results) if isinstance(each, np.ndarray)}
    return pixels, Counter(each for each in results if isinstance(each, ImageReason))


def _digests(pictures: Sequence[Read], num_threads: int) -> tuple[list[str | None], Counter[ImageReason]]:
    """The digest of each picture's bytes, None without any, and why there were none."""

    def digest(read: Read) -> str | ImageReason:
        data = read()
        return data if isinstance(data, ImageReason) else hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(num_threads) as threads:
        found = list(threads.map(digest, pictures))
    reasons = Counter(each for each in found if isinstance(each, ImageReason))
    return [None if isinstance(each, ImageReason) else each for each in found], reasons


def _read_file(path: Path, wanted: set[str]) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        names, maps = json.loads(facts["pictures"]), file.get_tensor("maps")
    if facts["sha256"] != _digest_of(maps):
        raise ValueError("its sha256 differs")
    yield from ((name, map_VHWD) for name, map_VHWD in zip(names, maps, strict=True) if name in wanted)


def _by_name(reasons: Mapping[ImageReason, int]) -> dict[str, int]:
    return {str(reason): count for reason, count in sorted(reasons.items())}


def _digest_of(maps: Tensor) -> str:
    return hashlib.sha256(maps.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
