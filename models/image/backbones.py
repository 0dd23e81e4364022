"""Convolutional backbones of torchvision with a linear head on each cell of their last map.

Letters: N pictures, H and W pixels, K colours, D channels of the last map, P its cells, C categories.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BundleError, UnsupportedKindError
from models.image.base import ImageEncoder
from models.image.decoding import Resize
from models.image.torchvision_models import get_model

__all__ = ["ARCHITECTURES", "RANDOM", "TORCHVISION", "TorchvisionBackbone"]

RANDOM: Final = "random"
"""Weights as initialised: for tests, for training from nothing, and before a state dict is loaded."""
TORCHVISION: Final = "torchvision"
"""ImageNet weights that torchvision downloads, or has cached."""

_STRIDE_PX: Final = 32


@dataclass(frozen=True, slots=True)
class _Architecture:
    num_channels: int
    classifier: tuple[str, ...]
    """The children of torchvision's model behind the last map: pooling and classification."""


_WITH_CLASSIFIER: Final = ("avgpool", "classifier")
_WITH_FC: Final = ("avgpool", "fc")

ARCHITECTURES: Final[Mapping[str, _Architecture]] = {
    "convnext_tiny": _Architecture(768, _WITH_CLASSIFIER),
    "efficientnet_b0": _Architecture(1280, _WITH_CLASSIFIER),
    "efficientnet_v2_s": _Architecture(1280, _WITH_CLASSIFIER),
    "mobilenet_v2": _Architecture(1280, _WITH_CLASSIFIER),
    "mobilenet_v3_large": _Architecture(960, _WITH_CLASSIFIER),
    "mobilenet_v3_small": _Architecture(576, _WITH_CLASSIFIER),
    "regnet_y_400mf": _Architecture(440, _WITH_FC),
    "resnet18": _Architecture(512, _WITH_FC),
    "resnet34": _Architecture(512, _WITH_FC),
    "resnet50": _Architecture(2048, _WITH_FC),
}
"""The backbones by torchvision's names; their last map has a cell for each 32 x 32 pixels."""


@dataclass(frozen=True, slots=True)
class _Normalization:
    """Mean and standard deviation of each colour, of pixels from 0 to 1, that weights were trained with."""

    mean_K: tuple[float, ...]
    std_K: tuple[float, ...]


_IMAGENET: Final = _Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CENTRED: Final = _Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_NUM_CLASSES_WITH_BACKGROUND: Final = 1001


class TorchvisionBackbone(ImageEncoder):
    """A backbone whose map is read by one linear layer: evidence of a cell = (W f + b) / P.

    The scale of the pixels belongs to the weights and is stored with the version: that of ImageNet, or
    x / 127.5 - 1 for weights of 1001 classes, background first, which come from TensorFlow.
    """

    kind: ClassVar[str] = "torchvision"
    scale_K: Tensor
    shift_K: Tensor

    def __init__(
        self,
        architecture: str,
        num_categories: int,
        *,
        weights: str | Path | None = None,
        image_size: int = 224,
        resize: str = Resize.FIT,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the backbone and fill it.

        Args:
            architecture: one of `ARCHITECTURES`.
            num_categories: C.
            weights: `RANDOM`, which None means as well, `TORCHVISION`, or a file with a state dict under
                torchvision's names (.safetensors, or .pth without any code in it).
            image_size: height and width of the pictures in pixels, a multiple of 32.
            resize: how pictures are brought to that size, one of `models.image.decoding.Resize`.
            generator: of the first weights of the head.

        Raises:
            UnsupportedKindError: there is no such architecture.
            BundleError: the weights cannot be read, or they or the size do not fit.
        """
        super().__init__()
        if image_size <= 0 or image_size % _STRIDE_PX:
            raise BundleError(f"an image size of {image_size} px does not fit, multiples of {_STRIDE_PX} do")
        self.architecture = architecture
        self.num_categories = num_categories
        self.image_size = image_size
        self.resize = _resize_of(resize)
        self.grid = (image_size // _STRIDE_PX, image_size // _STRIDE_PX)
        self.trunk, normalization = _build_trunk(architecture, weights or RANDOM)
        self.trunk.requires_grad_(requires_grad=False).eval()
        width = ARCHITECTURES[architecture].num_channels
        self.weight_CD = nn.Parameter(torch.empty(num_categories, width))
        self.bias_C = nn.Parameter(torch.zeros(num_categories))
        nn.init.xavier_uniform_(self.weight_CD, generator=generator)
        self._set_normalization(normalization)

    @property
    def blocks(self) -> list[nn.Module]:
        """The trunk in the steps it can be cut between: applied one after the other they are the trunk."""
        steps: list[nn.Module] = []
        for child in self.trunk.children():
            steps.extend(child.children() if isinstance(child, nn.Sequential) else [child])
        return steps

    def features_NPD(self, pixels_NHWK: Tensor) -> Tensor:
        """Channels of each cell of the last map, float32."""
        num_cells = self.grid[0] * self.grid[1]
        if not len(pixels_NHWK):
            return self.weight_CD.new_zeros((0, num_cells, self.weight_CD.shape[1]))
        map_NDHW = self.stem_NDHW(pixels_NHWK, num_tuned=0)
        return map_NDHW.permute(0, 2, 3, 1).reshape(len(pixels_NHWK), num_cells, -1).float()

    def stem_NDHW(self, pixels_NHWK: Tensor, *, num_tuned: int) -> Tensor:
        """The map that enters the last `num_tuned` blocks, for uint8 RGB pictures."""
        scaled_NHWK = torch.addcmul(self.shift_K, pixels_NHWK.to(torch.float32), self.scale_K)
        # Colours last in memory is what convolutions are fast in, so the view costs nothing.
        map_NDHW = scaled_NHWK.permute(0, 3, 1, 2)
        blocks = self.blocks
        for block in blocks[: len(blocks) - num_tuned]:
            map_NDHW = block(map_NDHW)
        return map_NDHW

    def head(self, features_NPD: Tensor) -> Tensor:
        """evidence_NPC; of features averaged over the cells, shape (N, 1, D), it is that of the picture."""
        return functional.linear(features_NPD, self.weight_CD, self.bias_C) / features_NPD.shape[1]

    def train(self, mode: bool = True) -> Self:
        """Set training mode; the trunk stays in evaluation mode: what learns of it learns in a copy."""
        super().train(mode)
        self.trunk.eval()
        return self

    def config(self) -> dict[str, Any]:
        """Architecture, sizes and the scale of the pixels; the weights are in the state dict."""
        return {
            "architecture": self.architecture,
            "num_categories": self.num_categories,
            "image_size": self.image_size,
            "resize": str(self.resize),
            "mean": list(self.normalization.mean_K),
            "std": list(self.normalization.std_K),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:  # noqa: ARG003
        """A backbone with random weights of the right shapes; downloads nothing."""
        try:
            encoder = cls(
                config["architecture"],
                config["num_categories"],
                weights=RANDOM,
                image_size=config["image_size"],
                resize=config.get("resize", Resize.FIT),
            )
            encoder._set_normalization(_Normalization(tuple(config["mean"]), tuple(config["std"])))
        except (KeyError, TypeError) as error:
            raise BundleError(f"not a configuration of {cls.kind}: {error!r}") from error
        return encoder

    def _set_normalization(self, normalization: _Normalization) -> None:
        self.normalization = normalization
        mean_K, std_K = torch.tensor(normalization.mean_K), torch.tensor(normalization.std_K)
        self.register_buffer("scale_K", 1 / (255 * std_K), persistent=False)
        self.register_buffer("shift_K", -mean_K / std_K, persistent=False)


def _resize_of(name: str) -> Resize:
    try:
        return Resize(name)
    except ValueError as error:
        raise BundleError(f"resize is {name[:40]!r}, it must be one of {', '.join(Resize)}") from error


def _build_trunk(architecture: str, weights: str | Path) -> tuple[nn.Module, _Normalization]:
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UnsupportedKindError(f"image architecture {architecture[:40]!r} is unknown, there are {known}")
    model = get_model(architecture, weights="DEFAULT" if weights == TORCHVISION else None)
    normalization = _IMAGENET
    if weights not in (RANDOM, TORCHVISION):
        normalization = _fill(model, Path(weights), ARCHITECTURES[architecture].classifier)
    trunk = nn.Sequential()
    for name, child in model.named_children():
        if name not in ARCHITECTURES[architecture].classifier:
            trunk.add_module(name, child)
    return trunk.to(memory_format=torch.channels_last), normalization


def _fill(model: nn.Module, path: Path, classifier: tuple[str, ...]) -> _Normalization:
    state = _read_state(path)
    wanted = {name: tensor for name, tensor in state.items() if name.split(".")[0] not in classifier}
    try:
        missing, unexpected = model.load_state_dict(wanted, strict=False)
    except RuntimeError as error:
        raise BundleError(f"weights {path} are of another architecture: {str(error)[:200]}") from error
    missing = [name for name in missing if name.split(".")[0] not in classifier]
    if missing or unexpected:
        raise BundleError(
            f"weights {path} are of another architecture: "
            f"{len(missing)} names missing, {len(unexpected)} unknown, such as {(missing + unexpected)[0]}"
        )
    num_classes = {len(tensor) for name, tensor in state.items() if name.split(".")[0] in classifier}
    return _CENTRED if _NUM_CLASSES_WITH_BACKGROUND in num_classes else _IMAGENET


def _read_state(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise BundleError(f"weights {path} cannot be read: {str(error)[:200]}") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise BundleError(
            f"weights {path} are not a state dict, a dictionary from names to tensors is needed"
        )
    return state
