"""Encoders of Hugging Face's `transformers` as training starts from them."""

from pathlib import Path
from typing import Any, Final

from torch import nn

from models.errors import ModelError
from models.text.lora import add_lora
from models.text.transformer import build_trunk

__all__ = ["RANDOM_WEIGHTS", "TUNINGS", "load_trunk", "tune"]

RANDOM_WEIGHTS: Final = "random"
TUNINGS: Final = ("full", "last_layers", "frozen", "lora")


def load_trunk(source: str, *, weights: str | None = None, num_tokens: int) -> nn.Module:
    """An encoder with an embedding for each token.

    Args:
        source: a name on Hugging Face's hub, or a folder with a `config.json`.
        weights: `random` for those of a fresh network of that configuration; None for those that come with
            it, which must be safetensors.
        num_tokens: of the tokeniser; the embeddings are resized where the encoder has fewer.

    Raises:
        ModelError: there is no such encoder, or its weights are not there or a pickle.
    """
    from transformers import AutoConfig, AutoModel

    try:
        if weights == RANDOM_WEIGHTS:
            settings = AutoConfig.from_pretrained(source, trust_remote_code=False)
            settings.vocab_size = max(settings.vocab_size, num_tokens)
            return build_trunk(settings)
        trunk: Any = AutoModel.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        where = "in the folder" if Path(source).exists() else "on Hugging Face's hub"
        raise ModelError(
            f"no encoder {source[:80]!r} with a configuration and safetensors {where} "
            f"({str(error).splitlines()[0][:120]}); weights=random starts from nothing"
        ) from error
    if getattr(trunk, "pooler", None) is not None:
        trunk.pooler = None
    if num_tokens > trunk.config.vocab_size:
        trunk.resize_token_embeddings(num_tokens)
    encoder: nn.Module = trunk
    return encoder


def tune(trunk: nn.Module, tuning: str, *, num_layers: int = 2, rank: int = 8, alpha: float = 16.0) -> None:
    """Decide what of an encoder learns.

    Args:
        trunk: the encoder.
        tuning: `full`, `last_layers`, `frozen` or `lora`.
        num_layers: how many of the last layers learn, with `last_layers`.
        rank: of the changes, with `lora`.
        alpha: their scale, with `lora`.

    Raises:
        ModelError: there is no such tuning, or the encoder has no layers that fit it.
    """
    if tuning not in TUNINGS:
        raise ModelError(f"tuning is {tuning[:40]!r}, it must be one of {', '.join(TUNINGS)}")
    if tuning == "lora":
        add_lora(trunk, rank=rank, alpha=alpha)
        return
    trunk.requires_grad_(tuning == "full")
    if tuning == "last_layers":
        for layer in _layers(trunk)[-num_layers:]:
            layer.requires_grad_(requires_grad=True)


def _layers(trunk: nn.Module) -> list[nn.Module]:
    lists = [module for module in trunk.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ModelError("this encoder has no list of layers: choose tuning full, frozen or lora")
    return list(lists[0])
