"""Tokenisers of Hugging Face's `tokenizers`, read from the bytes of a `tokenizer.json`."""

from collections.abc import Mapping
from typing import Final, Self

from tokenizers import Encoding
from tokenizers import Tokenizer as HuggingFaceTokenizer

from models.errors import BundleError

__all__ = ["TOKENIZER_FILE", "Tokenizer"]

TOKENIZER_FILE: Final = "tokenizer.json"
"""The name of its file in a version."""


class Tokenizer:
    """From cleaned text to token ids; may be shared by any number of threads.

    Whatever a tokeniser learnt or was given is in its bytes, added tokens included.
    """

    def __init__(self, data: bytes) -> None:
        """Read a tokeniser.

        Raises:
            BundleError: the bytes are no `tokenizer.json` that this release can read.
        """
        try:
            tokenizer = HuggingFaceTokenizer.from_str(data.decode("utf-8"))
        except Exception as error:  # the library raises bare exceptions
            raise BundleError(f"{TOKENIZER_FILE} is not a tokenizer: {str(error)[:120]}") from error
        # Lengths are cut here, where it is noticed, and texts of a batch must not know of each other.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.data = data

    @classmethod
    def of(cls, assets: Mapping[str, bytes]) -> Self:
        """The tokeniser among the files of an encoder.

        Raises:
            BundleError: it is missing or damaged.
        """
        if TOKENIZER_FILE not in assets:
            raise BundleError(f"{TOKENIZER_FILE} is missing")
        return cls(assets[TOKENIZER_FILE])

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, max_tokens: int, special: bool = False) -> tuple[list[int], bool]:
        """The ids of a text, and whether some of its tokens were left out.

        Args:
            text: cleaned, without lone surrogates.
            max_tokens: the most ids to return, at least 3 with special tokens.
            special: add the tokens that the tokeniser puts at the start and at the end of a text.
        """
        encoding, truncated = self._encode(text, max_tokens, special=special)
        return encoding.ids, truncated

    def encode_with_places(
        self, text: str, *, max_tokens: int, special: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a text, and where each token starts and ends in it, in code points.

        Special tokens, which stand for no characters, start and end at 0. Arguments are those of `encode`.
        """
        encoding, _ = self._encode(text, max_tokens, special=special)
        return encoding.ids, encoding.offsets

    def _encode(self, text: str, max_tokens: int, *, special: bool) -> tuple[Encoding, bool]:
        encoding = self._tokenizer.encode(text, add_special_tokens=special)
        truncated = len(encoding.ids) > max_tokens
        if truncated:
            added = self._tokenizer.num_special_tokens_to_add(is_pair=False) if special else 0
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            encoding.truncate(max_tokens - added)
            if special:
                encoding = self._tokenizer.post_process(encoding)
        return encoding, truncated

    def tokens(self) -> list[str]:
        """Every token as text, by id; ids without a token are empty."""
        return [self._tokenizer.id_to_token(token) or "" for token in range(len(self))]

    def token_id(self, token: str) -> int | None:
        """The id of a token; None if it is not known."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found
