"""From products' texts to token ids, for every encoder that reads tokens.

Letters: B texts, T tokens of all texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.inputs import TextFeatures
from models.text.cleaning import clean_and_cut
from models.text.tokenizer import Tokenizer

__all__ = ["TokenFeatures", "TokenReader"]


@dataclass(frozen=True, slots=True, eq=False)
class TokenFeatures(TextFeatures):
    """Texts as token ids that all weigh 1."""

    def averaged(self) -> TextFeatures:
        """The same with weights that sum to 1 over each text."""
        lengths_B = np.diff(self.offsets_B1)
        weight_B = (1 / np.maximum(lengths_B, 1)).astype(np.float32)
        return replace(self, weights_T=np.repeat(weight_B, lengths_B))


@dataclass(frozen=True, slots=True)
class TokenReader:
    """Cleans, joins and tokenises a product's title and description.

    Attributes:
        tokenizer: shared by all threads.
        max_tokens: of a text that are read.
        max_characters: code points of a cleaned title, and of a cleaned description, that are read.
        special: put the tokeniser's special tokens around each text.
    """

    tokenizer: Tokenizer
    max_tokens: int
    max_characters: int
    special: bool = False

    def read(self, texts: Sequence[tuple[str, str]]) -> TokenFeatures:
        """Token ids of B (title, description) pairs as received; a text without anything to read has none."""
        read = [self._read(title, description) for title, description in texts]
        ids: list[NDArray[np.int64]] = [np.array(each, np.int64) for each, _, _ in read]
        offsets_B1 = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(each) for each in ids], out=offsets_B1[1:])
        ids_T = np.concatenate([np.zeros(0, np.int64), *ids])
        return TokenFeatures(
            ids_T=ids_T,
            weights_T=np.ones(len(ids_T), np.float32),
            offsets_B1=offsets_B1,
            present_B=np.array([present for _, present, _ in read], np.bool_),
            truncated_B=np.array([truncated for _, _, truncated in read], np.bool_),
        )

    def _read(self, title: str, description: str) -> tuple[list[int], bool, bool]:
        parts = [clean_and_cut(part, max_characters=self.max_characters) for part in (title, description)]
        text = " ".join(part for part, _ in parts if part)
        if not text:
            return [], False, any(cut for _, cut in parts)
        ids, truncated = self.tokenizer.encode(text, max_tokens=self.max_tokens, special=self.special)
        return ids, True, truncated or any(cut for _, cut in parts)
