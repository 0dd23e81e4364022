"""The mean of the embeddings of a text's tokens, and one linear layer: linear throughout.

The architecture of the project that Shelver replaces; kept to compare with, and for the projector.
Letters: B texts, T tokens of all texts, V tokens of the vocabulary, D embedding, C categories.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BundleError
from models.inputs import TensorBatch, TextFeatures
from models.text.base import TextEncoder, weighted_sums
from models.text.token_features import TokenReader
from models.text.tokenizer import TOKENIZER_FILE, Tokenizer

__all__ = ["EmbeddingBagEncoder"]

_EMBEDDING_STD = 0.05


class EmbeddingBagEncoder(TextEncoder):
    """Evidence = W mean(embeddings of the tokens) + b."""

    kind: ClassVar[str] = "embedding_bag"

    def __init__(
        self,
        tokenizer: Tokenizer,
        num_categories: int,
        *,
        embedding_dim: int = 200,
        max_tokens: int = 512,
        max_characters: int = 4096,
    ) -> None:
        """Build it with random weights.

        Args:
            tokenizer: stored with the encoder.
            num_categories: C.
            embedding_dim: D.
            max_tokens: of a text that are read.
            max_characters: code points of a cleaned title, and of a cleaned description, that are read.
        """
        super().__init__()
        self.num_categories = num_categories
        self.max_characters = max_characters
        self.reader = TokenReader(tokenizer, max_tokens=max_tokens, max_characters=max_characters)
        self.table_VD = nn.Parameter(torch.empty(len(tokenizer), embedding_dim))
        self.weight_CD = nn.Parameter(torch.empty(num_categories, embedding_dim))
        self.bias_C = nn.Parameter(torch.zeros(num_categories))
        nn.init.normal_(self.table_VD, std=_EMBEDDING_STD)
        nn.init.xavier_uniform_(self.weight_CD)

    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        """Token ids of B (title, description) pairs; each weighs 1 / number of its text's tokens."""
        return self.reader.read(texts).averaged()

    def forward(self, batch: TensorBatch) -> Tensor:
        """evidence_BC, float32; zeros in rows without text."""
        mean_BD = weighted_sums(self.table_VD, batch)
        evidence_BC: Tensor = functional.linear(mean_BD, self.weight_CD, self.bias_C)
        return evidence_BC * batch.text_present_B.unsqueeze(1)

    def token_evidence(self, ids: Sequence[int], columns_K: NDArray[np.int64]) -> NDArray[np.float64]:
        """evidence_TK of tokens, each as if it were the only one of its text, without the bias."""
        rows_TD = self.table_VD[torch.tensor(ids, dtype=torch.int64, device=self.table_VD.device)]
        columns = torch.from_numpy(columns_K).to(self.table_VD.device)
        evidence_TK: NDArray[np.float64] = (
            functional.linear(rows_TD.double(), self.weight_CD[columns].double()).cpu().numpy()
        )
        return evidence_TK

    def token_embeddings(self) -> tuple[Tensor, list[str]]:
        """Vectors (V, D) of all tokens, and the tokens."""
        return self.table_VD, self.reader.tokenizer.tokens()

    def config(self) -> dict[str, Any]:
        """Sizes and limits; the tokeniser is a file of its own."""
        return {
            "num_tokens": len(self.table_VD),
            "num_categories": self.num_categories,
            "embedding_dim": self.table_VD.shape[1],
            "max_tokens": self.reader.max_tokens,
            "max_characters": self.max_characters,
        }

    def assets(self) -> dict[str, bytes]:
        """The tokeniser."""
        return {TOKENIZER_FILE: self.reader.tokenizer.data}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        """An encoder with random weights around the stored tokeniser."""
        tokenizer = Tokenizer.of(assets)
        try:
            if config["num_tokens"] != len(tokenizer):
                raise BundleError(
                    f"{TOKENIZER_FILE} has {len(tokenizer)} tokens, the encoder {config['num_tokens']}"
                )
            return cls(
                tokenizer,
                config["num_categories"],
                embedding_dim=config["embedding_dim"],
                max_tokens=config["max_tokens"],
                max_characters=config["max_characters"],
            )
        except (KeyError, TypeError) as error:
            raise BundleError(f"not a configuration of {cls.kind}: {error!r}") from error
