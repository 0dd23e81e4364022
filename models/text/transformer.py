"""Any encoder of Hugging Face's `transformers`, the mean of its last states, and one linear layer.

Letters: B texts, R of them that have tokens, T tokens of all texts, L tokens of the longest, D hidden, C
categories.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BundleError
from models.inputs import TensorBatch, TextFeatures
from models.text.base import TextEncoder
from models.text.lora import merge_lora
from models.text.token_features import TokenReader
from models.text.tokenizer import TOKENIZER_FILE, Tokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["TransformerEncoder", "build_trunk"]


def build_trunk(config: "PretrainedConfig") -> nn.Module:
    """The encoder of a configuration with random weights, without a pooling layer of its own."""
    from transformers import AutoModel

    build: Callable[..., nn.Module] = AutoModel.from_config
    try:
        return build(config, add_pooling_layer=False)
    except TypeError:  # not every encoder has one to leave out
        return build(config)


class TransformerEncoder(TextEncoder):
    """Evidence = W mean(last states of the tokens) + b; not additive in the words of a text."""

    kind: ClassVar[str] = "transformer"

    def __init__(
        self,
        trunk: nn.Module,
        tokenizer: Tokenizer,
        num_categories: int,
        *,
        dropout: float = 0.1,
        max_tokens: int = 128,
        max_characters: int = 4096,
    ) -> None:
        """Put a head on an encoder.

        Args:
            trunk: of `build_trunk` or with weights already learnt; it has an embedding for each token.
            tokenizer: stored with the encoder; puts its special tokens around each text.
            num_categories: C.
            dropout: of the mean state, before the head.
            max_tokens: of a text that are read, special ones included.
            max_characters: code points of a cleaned title, and of a cleaned description, that are read.

        Raises:
            BundleError: the trunk has fewer embeddings or positions than are asked for.
        """
        super().__init__()
        settings: Any = trunk.config
        _check_sizes(settings, len(tokenizer), max_tokens)
        self.num_categories = num_categories
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(settings.hidden_size, num_categories)
        self._pad: int = settings.pad_token_id or 0
        self.max_characters = max_characters
        self.reader = TokenReader(
            tokenizer, max_tokens=max_tokens, max_characters=max_characters, special=True
        )

    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        """Token ids of B (title, description) pairs, special tokens included."""
        return self.reader.read(texts)

    def forward(self, batch: TensorBatch) -> Tensor:
        """evidence_BC, float32; zeros in rows without text."""
        evidence_BC = self.head.weight.new_zeros(len(batch.text_present_B), self.num_categories)
        lengths_B = batch.offsets_B1.diff()
        rows_R = lengths_B.nonzero().squeeze(1)
        if not len(rows_R):
            return evidence_BC
        ids_RL, mask_RL = self._padded(batch.ids_T, lengths_B[rows_R])
        states_RLD = self.trunk(input_ids=ids_RL, attention_mask=mask_RL.long()).last_hidden_state
        weights_RL1 = mask_RL.unsqueeze(2).to(states_RLD.dtype)
        mean_RD = (states_RLD * weights_RL1).sum(dim=1) / weights_RL1.sum(dim=1)
        evidence_RC = functional.linear(self.dropout(mean_RD.float()), self.head.weight, self.head.bias)
        return evidence_BC.index_copy(0, rows_R, evidence_RC.to(evidence_BC.dtype))

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a trunk that learns nothing stays in evaluation mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.trunk.parameters()):
            self.trunk.eval()
        return self

    def merged(self) -> Self:
        """Itself, with low-rank changes put into the weights."""
        merge_lora(self.trunk)
        return self

    def config(self) -> dict[str, Any]:
        """The trunk's own configuration, and the sizes around it; the tokeniser is a file of its own."""
        settings: Any = self.trunk.config
        return {
            "trunk": _plain(settings.to_dict()),
            "num_categories": self.num_categories,
            "dropout": self.dropout.p,
            "max_tokens": self.reader.max_tokens,
            "max_characters": self.max_characters,
        }

    def assets(self) -> dict[str, bytes]:
        """The tokeniser."""
        return {TOKENIZER_FILE: self.reader.tokenizer.data}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        """An encoder with random weights; nothing is downloaded, no code but that of transformers runs."""
        from transformers import AutoConfig

        tokenizer = Tokenizer.of(assets)
        try:
            settings = dict(config["trunk"])
            trunk = build_trunk(AutoConfig.for_model(settings.pop("model_type"), **settings))
            return cls(
                trunk,
                tokenizer,
                config["num_categories"],
                dropout=config["dropout"],
                max_tokens=config["max_tokens"],
                max_characters=config["max_characters"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"not a configuration of {cls.kind}: {error!r}") from error

    def _padded(self, ids_T: Tensor, lengths_R: Tensor) -> tuple[Tensor, Tensor]:
        places_L = torch.arange(int(lengths_R.max()), device=ids_T.device)
        mask_RL = places_L < lengths_R[:, None]
        ids_RL = torch.full(mask_RL.shape, self._pad, dtype=torch.int64, device=ids_T.device)
        return ids_RL.masked_scatter(mask_RL, ids_T), mask_RL


def _check_sizes(settings: Any, num_tokens: int, max_tokens: int) -> None:
    if num_tokens > settings.vocab_size:
        raise BundleError(f"the tokenizer has {num_tokens} tokens, the encoder knows {settings.vocab_size}")
    positions = getattr(settings, "max_position_embeddings", None)
    # Encoders after RoBERTa count positions from behind the padding token's number.
    if positions is not None and max_tokens > positions - 2:
        raise BundleError(f"max_tokens is {max_tokens}, the encoder has places for {positions - 2}")


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """What tells the architecture: no names of folders, versions or of this run."""
    hidden = ("_name_or_path", "transformers_version", "name_or_path", "dtype", "torch_dtype")
    return {key: value for key, value in settings.items() if key not in hidden}
