"""Maps of the frozen part: the same from the cache as computed, and never trusted when damaged."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import ImageReason
from models.image.backbones import TorchvisionBackbone
from training.picture_features import FrozenPart, PictureMaps, compute_maps

Read = Callable[[], bytes | ImageReason]


@pytest.fixture(scope="module")
def backbone() -> TorchvisionBackbone:
    torch.manual_seed(1)
    return TorchvisionBackbone("mobilenet_v3_small", 3, image_size=64).eval()


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def readers(*pictures: bytes | ImageReason) -> list[Read]:
    return [lambda each=each: each for each in pictures]  # type: ignore[misc]


class CountsItsPictures(FrozenPart):
    computed = 0

    def maps_NVHWD(self, pixels_NHWK: np.ndarray) -> torch.Tensor:
        type(self).computed += len(pixels_NHWK)
        return super().maps_NVHWD(pixels_NHWK)


def computed_by(part: FrozenPart, pictures: list[Read], cache_dir: Path | None) -> tuple[PictureMaps, int]:
    counting = CountsItsPictures(part.backbone, part.num_tuned, part.mirrored)
    CountsItsPictures.computed = 0
    return compute_maps(counting, pictures, cache_dir=cache_dir), CountsItsPictures.computed


@pytest.mark.parametrize("num_tuned", [0, 2])
def test_a_second_run_computes_nothing_and_finds_the_same(
    backbone: TorchvisionBackbone, num_tuned: int, tmp_path: Path
) -> None:
    part = FrozenPart(backbone, num_tuned, mirrored=True)
    pictures = readers(*(picture(seed) for seed in range(40)))
    without, _ = computed_by(part, pictures, None)
    first, computed = computed_by(part, pictures, tmp_path)
    second, again = computed_by(part, pictures, tmp_path)
    assert (computed, again) == (40, 0)
    assert torch.equal(first.maps_NVHWD, second.maps_NVHWD)
    assert torch.equal(first.maps_NVHWD, without.maps_NVHWD)
    assert first.maps_NVHWD.shape[:2] == (40, 2)


def test_only_what_is_new_is_computed(backbone: TorchvisionBackbone, tmp_path: Path) -> None:
    part = FrozenPart(backbone, 0, mirrored=False)
    computed_by(part, readers(picture(1), picture(2)), tmp_path)
    maps, computed = computed_by(part, readers(picture(3), picture(2), picture(1)), tmp_path)
    assert computed == 1
    alone, _ = computed_by(part, readers(picture(3)), None)
    torch.testing.assert_close(maps.maps_NVHWD[:1], alone.maps_NVHWD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "pickle"])
def test_a_damaged_file_is_computed_again(backbone: TorchvisionBackbone, damage: str, tmp_path: Path) -> None:
    part = FrozenPart(backbone, 0, mirrored=False)
    pictures = readers(picture(1), picture(2))
    first, _ = computed_by(part, pictures, tmp_path)
    (file,) = tmp_path.rglob("*.safetensors")
    data = file.read_bytes()
    file.unlink()
    flipped = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    file.write_bytes({"cut": data[:-10], "changed": flipped, "empty": b"", "pickle": b"\x80\x04N."}[damage])
    second, computed = computed_by(part, pictures, tmp_path)
    assert computed == 2
    assert torch.equal(first.maps_NVHWD, second.maps_NVHWD)
    assert computed_by(part, pictures, tmp_path)[1] == 0


def test_other_weights_sizes_and_cuts_do_not_share_maps(
    backbone: TorchvisionBackbone, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    parts = [
        FrozenPart(backbone, 0, mirrored=False),
        FrozenPart(backbone, 1, mirrored=False),
        FrozenPart(backbone, 0, mirrored=True),
        FrozenPart(TorchvisionBackbone("mobilenet_v3_small", 3, image_size=64).eval(), 0, mirrored=False),
        FrozenPart(TorchvisionBackbone("mobilenet_v3_small", 3, image_size=96).eval(), 0, mirrored=False),
    ]
    assert len({part.digest() for part in parts}) == len(parts)
    assert [computed_by(part, readers(picture(1)), tmp_path)[1] for part in parts] == [1] * len(parts)


def test_the_head_does_not_change_what_is_kept(backbone: TorchvisionBackbone) -> None:
    torch.manual_seed(1)
    other = TorchvisionBackbone("mobilenet_v3_small", 7, image_size=64).eval()
    other.trunk.load_state_dict(backbone.trunk.state_dict())
    assert FrozenPart(other, 0, mirrored=True).digest() == FrozenPart(backbone, 0, mirrored=True).digest()


def test_pictures_that_cannot_be_used_are_counted_by_reason(
    backbone: TorchvisionBackbone, tmp_path: Path
) -> None:
    part = FrozenPart(backbone, 0, mirrored=False)
    pictures = readers(picture(1), b"<html>", ImageReason.NOT_FOUND, picture(2), b"", picture(2)[:-40])
    done: list[int] = []
    maps = compute_maps(part, pictures, cache_dir=tmp_path, advance=done.append)
    assert maps.found.tolist() == [0, 3]
    assert sum(maps.broken.values()) == 4
    assert maps.broken["not_found"] == 1
    assert sum(done) == len(pictures)


def test_no_pictures_give_no_maps(backbone: TorchvisionBackbone) -> None:
    maps = compute_maps(FrozenPart(backbone, 0, mirrored=False), [])
    assert len(maps.found) == len(maps.maps_NVHWD) == 0
