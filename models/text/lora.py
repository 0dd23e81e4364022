"""Low-rank adaptation: learn a small change of a large weight (Hu et al. 2021, "LoRA", equation 3).

    W' = W + (alpha / r) B A,   A (r, inputs), B (outputs, r), W fixed

B starts at zero, so nothing changes until something is learnt.
"""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.errors import ModelError

__all__ = ["add_lora", "merge_lora"]

_ATTENTION_QUERIES_AND_VALUES: Final = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "Wqkv")
"""What the linear layers of attention are called in the encoders of transformers."""


class _LowRank(nn.Module):
    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        num_outputs, num_inputs = weight.shape
        self.a_RI = nn.Parameter(torch.empty(rank, num_inputs))
        self.b_OR = nn.Parameter(torch.zeros(num_outputs, rank))
        nn.init.kaiming_uniform_(self.a_RI, a=5**0.5)
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b_OR @ self.a_RI)


def add_lora(network: nn.Module, *, rank: int = 8, alpha: float = 16.0) -> None:
    """Freeze a network but for low-rank changes of its attention's queries and values.

    Raises:
        ModelError: it has no such layers.
    """
    network.requires_grad_(requires_grad=False)
    layers = list(_adapted_layers(network))
    if not layers:
        names = ", ".join(_ATTENTION_QUERIES_AND_VALUES)
        raise ModelError(f"no linear layer is called {names}: choose tuning full or frozen instead of lora")
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", _LowRank(layer.weight, rank, alpha))


def merge_lora(network: nn.Module) -> None:
    """Put the learnt changes into the weights themselves; the network answers as before."""
    for layer in list(_adapted_layers(network)):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _adapted_layers(network: nn.Module) -> Iterator[nn.Linear]:
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and name.split(".")[-1] in _ATTENTION_QUERIES_AND_VALUES:
            yield module
