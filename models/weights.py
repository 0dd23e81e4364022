"""The tensors of a network as the bytes of a safetensors file, and back: no pickle on either way."""

from collections.abc import Mapping
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as format_safetensors
from torch import Tensor, nn

from models.errors import BundleError
from models.version_files import WEIGHTS_FILE

__all__ = ["decode_weights", "encode_weights"]

_PICKLE_STARTS: Final = (b"\x80", b"PK\x03\x04")
"""A bare pickle of protocol 2 and up; the zip that `torch.save` writes around one."""
_SHOWN_NAMES: Final = 3


def encode_weights(network: nn.Module) -> bytes:
    """Every parameter and persistent buffer of a network, as it is now, wherever it lives.

    Raises:
        BundleError: a weight is NaN or infinite.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()
    }
    _check_finite(tensors)
    return format_safetensors(tensors)


@torch.no_grad()
def decode_weights(network: nn.Module, data: bytes) -> None:
    """Fill a network with the tensors that `encode_weights` wrote; all are checked before any is copied.

    Raises:
        BundleError: the bytes are no safetensors file, a tensor is missing, not the network's, of another
            shape or type, or holds NaN or infinity.
    """
    tensors = _parse(data)
    expected = network.state_dict()
    _check_names(expected, tensors)
    for name, tensor in expected.items():
        _check_form(name, tensor, tensors[name])
    _check_finite(tensors)
    network.load_state_dict(tensors)


def _parse(data: bytes) -> dict[str, Tensor]:
    try:
        return parse_safetensors(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        if data.startswith(_PICKLE_STARTS):
            raise BundleError(
                f"{WEIGHTS_FILE} is a pickle, which can run code: it is never opened; publish again"
            ) from error
        raise BundleError(f"{WEIGHTS_FILE} is not a readable safetensors file: {str(error)[:120]}") from error


def _check_names(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing:
        raise BundleError(f"{WEIGHTS_FILE} lacks {len(missing)} tensors of the network: {_some(missing)}")
    if extra:
        raise BundleError(f"{WEIGHTS_FILE} has {len(extra)} tensors the network lacks: {_some(extra)}")


def _check_form(name: str, expected: Tensor, found: Tensor) -> None:
    if found.shape != expected.shape:
        raise BundleError(
            f"{WEIGHTS_FILE}: {name} has shape {tuple(found.shape)}, it must have {tuple(expected.shape)}"
        )
    if found.dtype != expected.dtype:
        raise BundleError(f"{WEIGHTS_FILE}: {name} is {found.dtype}, it must be {expected.dtype}")


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise BundleError(f"{WEIGHTS_FILE}: {name} holds NaN or infinity, so it cannot score anything")


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN_NAMES])
    return f"{shown}, ..." if len(names) > _SHOWN_NAMES else shown
