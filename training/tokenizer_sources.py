"""Where a tokeniser comes from: a file, Hugging Face's hub, or the texts of the catalogue."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as HuggingFaceTokenizer

from models.errors import ModelError
from models.text.cleaning import clean
from models.text.tokenizer import TOKENIZER_FILE, Tokenizer

__all__ = ["CATALOGUE", "load_tokenizer"]

CATALOGUE: Final = "catalogue"
"""The source that means: train one on the texts."""

_SPECIAL: Final = ("<s>", "<pad>", "</s>", "<unk>")


def load_tokenizer(
    source: str,
    texts: Iterable[tuple[str, str]] = (),
    *,
    new_tokens: Sequence[str] = (),
    vocabulary_size: int = 20_000,
) -> Tokenizer:
    """A tokeniser; what is added to it is in its bytes, and so in every version that is stored with it.

    Args:
        source: `catalogue`, a `tokenizer.json` or a folder with one, or a name on Hugging Face's hub.
        texts: (title, description) pairs as received, for `catalogue`.
        new_tokens: words that become one token each, in their cleaned form.
        vocabulary_size: the most tokens to learn, for `catalogue`; the same texts give the same tokeniser.

    Raises:
        ModelError: there is no such tokeniser, or no text to train one on.
    """
    if source == CATALOGUE:
        tokenizer = _trained(texts, vocabulary_size)
    elif Path(source).exists():
        tokenizer = _from_path(Path(source))
    else:
        tokenizer = _from_hub(source)
    added = [token for token in (clean(word) for word in new_tokens) if token]
    tokenizer.add_tokens([AddedToken(token, single_word=True, normalized=False) for token in added])
    return Tokenizer(tokenizer.to_str().encode())


def _from_path(path: Path) -> HuggingFaceTokenizer:
    file = path / TOKENIZER_FILE if path.is_dir() else path
    try:
        return HuggingFaceTokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare exceptions
        raise ModelError(f"{file} is not a tokenizer: {str(error)[:160]}") from error


def _from_hub(name: str) -> HuggingFaceTokenizer:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=False)
        return HuggingFaceTokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"tokenizer {name[:80]!r} is no folder here, and Hugging Face's hub does not give it "
            f"({str(error).splitlines()[0][:120]}); take a folder with a {TOKENIZER_FILE}, or {CATALOGUE}"
        ) from error


def _trained(texts: Iterable[tuple[str, str]], vocabulary_size: int) -> HuggingFaceTokenizer:
    cleaned = [text for pair in texts for text in map(clean, pair) if text]
    if not cleaned:
        raise ModelError("there is no text to train a tokenizer on")
    tokenizer = HuggingFaceTokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size, special_tokens=list(_SPECIAL), show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(cleaned, trainer)
    begin, _, end, _ = ((token, tokenizer.token_to_id(token)) for token in _SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin[0]} $A {end[0]}", special_tokens=[begin, end]
    )
    return tokenizer
