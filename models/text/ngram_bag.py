"""The default text encoder: a weighted bag of learned word and character n-grams, linear throughout.

The weight of n-gram v in a text that holds it n times is (1 + ln n) idf_v, and the weights of the word
n-grams and those of the character n-grams are each divided by their Euclidean norm: sublinear tf-idf as in
Manning, Raghavan and Schuetze (2008), "Introduction to Information Retrieval", section 6.4. Given the whole
text, an occurrence carries an n-th of its n-gram's weight, and evidence is linear in the weights: what a word
adds is a sum over occurrences, with nothing left over but the bias.

Letters: B texts, T n-grams of all texts, V n-grams of the vocabulary, D embedding, C categories.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BundleError
from models.inputs import TensorBatch, TextFeatures
from models.text.base import TextEncoder, weighted_sums
from models.text.cleaning import clean_and_cut
from models.text.ngram_vocabulary import (
    UNKNOWN,
    NgramLookup,
    NgramVocabulary,
    chunks_by_length,
    learn_vocabulary,
)
from models.text.ngrams import Block, Ngrams, extract_ngrams, last_word_starts

__all__ = ["NgramBag", "NgramVocabulary", "Occurrences", "fit_vocabulary"]

DEFAULT_MAX_CHARACTERS = 4096
"""Code points of a cleaned title, and of a cleaned description, that are read."""

# Larger chunks fall out of the processor's cache, smaller ones pay numpy's cost a call more often.
_CHUNK_CHARACTERS = 1 << 15

_EMBEDDING_STD = 0.05


def fit_vocabulary(
    texts: Iterable[tuple[str, str]],
    *,
    min_texts_of_word_ngram: int = 2,
    min_texts_of_char_ngram: int = 3,
    max_ngrams: int | None = None,
    max_characters: int = DEFAULT_MAX_CHARACTERS,
) -> NgramVocabulary:
    """The n-grams worth knowing of some texts.

    Args:
        texts: (title, description) pairs as received, read once; those without text do not count.
        min_texts_of_word_ngram: how many texts must hold a word or a pair of words.
        min_texts_of_char_ngram: how many texts must hold a character n-gram.
        max_ngrams: the most to keep, the most frequent ones; None keeps all.
        max_characters: as in the encoder that is to use it.
    """
    cleaned = (_clean_pair(pair, max_characters)[0] for pair in texts)
    min_texts = {Block.WORDS: min_texts_of_word_ngram, Block.CHARACTERS: min_texts_of_char_ngram}
    return learn_vocabulary(filter(None, cleaned), min_texts, max_ngrams=max_ngrams)


@dataclass(frozen=True, slots=True, eq=False)
class Occurrences:
    """T known n-grams at the places where they stand.

    Attributes:
        ids_T: int64, in the vocabulary.
        weights_T: float64, an equal share of what the n-gram weighs in its text.
        starts_T: int64, where each starts in the texts laid end to end, each behind one space.
        last_starts_T: int64, where the last of its words starts; character n-grams lie in one word.
    """

    ids_T: NDArray[np.int64]
    weights_T: NDArray[np.float64]
    starts_T: NDArray[np.int64]
    last_starts_T: NDArray[np.int64]


class NgramBag(TextEncoder):
    """Evidence = W (sum of the weighted embeddings of a text's n-grams) + b, in one of two forms.

    In training, n-grams have embeddings of `embedding_dim` with dropout before W. `fold` gives the form that
    is stored and served: `embedding_dim` None, a table of each n-gram's logits, and no W.
    """

    kind: ClassVar[str] = "ngram_bag"
    hashes_V: Tensor
    idf_V: Tensor

    def __init__(
        self,
        vocabulary: NgramVocabulary,
        num_categories: int,
        *,
        embedding_dim: int | None = 128,
        dropout: float = 0.5,
        max_characters: int = DEFAULT_MAX_CHARACTERS,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.embedding_dim = embedding_dim
        self.max_characters = max_characters
        self.num_word_ngrams = vocabulary.num_word_ngrams
        self.dropout = nn.Dropout(dropout)
        width = num_categories if embedding_dim is None else embedding_dim
        self.table = nn.Parameter(torch.empty(len(vocabulary), width))
        self.weight_CD = None if embedding_dim is None else nn.Parameter(torch.empty(num_categories, width))
        self.bias_C = nn.Parameter(torch.zeros(num_categories))
        self._initialise(generator)
        # The bits of the hashes as int64: uint64 tensors can hardly be used, or stored, in torch.
        self.register_buffer("hashes_V", torch.from_numpy(vocabulary.hashes_V.view(np.int64).copy()))
        self.register_buffer("idf_V", torch.from_numpy(vocabulary.idf_V.copy()))
        self._lookup: tuple[NgramLookup, NDArray[np.float32]] | None = None

    @property
    def vocabulary(self) -> NgramVocabulary:
        """The vocabulary as it is in the buffers, in main memory."""
        return NgramVocabulary(
            hashes_V=self.hashes_V.cpu().numpy().view(np.uint64),
            idf_V=self.idf_V.cpu().numpy(),
            num_word_ngrams=self.num_word_ngrams,
        )

    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        """Weighted known n-grams of B (title, description) pairs, as received, rising by id within a text."""
        pairs = [_clean_pair(pair, self.max_characters) for pair in texts]
        cleaned = [text for text, _ in pairs]
        parts = [self._weigh(chunk) for chunk in chunks_by_length(cleaned, _CHUNK_CHARACTERS)]
        ids, weights, lengths = zip(*parts, strict=True) if parts else ((), (), ())
        offsets_B1 = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]), out=offsets_B1[1:])
        return TextFeatures(
            ids_T=np.concatenate([np.zeros(0, np.int64), *ids]),
            weights_T=np.concatenate([np.zeros(0, np.float32), *weights]),
            offsets_B1=offsets_B1,
            present_B=np.fromiter(map(bool, cleaned), np.bool_, len(texts)),
            truncated_B=np.fromiter((truncated for _, truncated in pairs), np.bool_, len(texts)),
        )

    def forward(self, batch: TensorBatch) -> Tensor:
        """evidence_BC, float32; zeros in rows without text."""
        bags = weighted_sums(self.table, batch)
        if self.weight_CD is not None:
            bags = functional.linear(self.dropout(bags), self.weight_CD)
        evidence_BC: Tensor = (bags + self.bias_C) * batch.text_present_B.unsqueeze(1)
        return evidence_BC

    @torch.no_grad()
    def fold(self) -> "NgramBag":
        """The same encoder with W multiplied into the table: equal evidence to 1e-5, and no dropout."""
        folded = NgramBag(
            self.vocabulary, self.num_categories, embedding_dim=None, max_characters=self.max_characters
        )
        table = self.table if self.weight_CD is None else self.table @ self.weight_CD.T
        folded.table.copy_(table)
        folded.bias_C.copy_(self.bias_C)
        return folded.train(self.training)

    def occurrences(self, texts: Sequence[str]) -> "Occurrences":
        """Every known n-gram of B cleaned texts, title and description joined, at each place it stands."""
        lookup, idf_V = self._ensure_lookup()
        keys, starts, last_starts = [], [], []
        for block, ngrams in extract_ngrams(texts).items():
            block_keys, known = _known_ngrams(lookup, ngrams, len(idf_V))
            lasts_T = last_word_starts(ngrams) if block is Block.WORDS else ngrams.starts_T
            keys.append(block_keys)
            starts.append(ngrams.starts_T[known])
            last_starts.append(lasts_T[known])
        keys_T = np.concatenate(keys)
        ids_F, weights_F, lengths_B = self._weigh_keys(keys_T.copy(), idf_V, len(texts))
        keys_F = np.repeat(np.arange(len(texts)), lengths_B) * len(idf_V) + ids_F
        place_T = np.searchsorted(keys_F, keys_T)
        share_F = weights_F.astype(np.float64) / np.maximum(np.bincount(place_T, minlength=len(ids_F)), 1)
        return Occurrences(
            ids_F[place_T], share_F[place_T], np.concatenate(starts), np.concatenate(last_starts)
        )

    def ngram_evidence(self, ids_T: NDArray[np.int64], columns_K: NDArray[np.int64]) -> Tensor:
        """evidence_TK of n-grams of weight 1, without the bias."""
        rows_TD = self.table[torch.from_numpy(ids_T).to(self.table.device)]
        columns = torch.from_numpy(columns_K).to(self.table.device)
        evidence_TK: Tensor = (
            rows_TD[:, columns] if self.weight_CD is None else rows_TD @ self.weight_CD[columns].T
        )
        return evidence_TK

    def config(self) -> dict[str, Any]:
        """Sizes and limits; the vocabulary itself is in the buffers."""
        return {
            "num_ngrams": len(self.table),
            "num_word_ngrams": self.num_word_ngrams,
            "num_categories": self.num_categories,
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout.p,
            "max_characters": self.max_characters,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:  # noqa: ARG003
        """An encoder with an empty vocabulary of the right size."""
        try:
            vocabulary = NgramVocabulary(
                hashes_V=np.zeros(config["num_ngrams"], np.uint64),
                idf_V=np.zeros(config["num_ngrams"], np.float32),
                num_word_ngrams=config["num_word_ngrams"],
            )
            return cls(
                vocabulary,
                config["num_categories"],
                embedding_dim=config["embedding_dim"],
                dropout=config["dropout"],
                max_characters=config["max_characters"],
            )
        except (KeyError, TypeError) as error:
            raise BundleError(f"not a configuration of {cls.kind}: {error!r}") from error

    def _initialise(self, generator: torch.Generator | None) -> None:
        if self.weight_CD is None:
            nn.init.zeros_(self.table)
            return
        nn.init.normal_(self.table, std=_EMBEDDING_STD, generator=generator)
        nn.init.xavier_uniform_(self.weight_CD, generator=generator)

    def _weigh(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Ids and weights of the n-grams of cleaned texts, and how many each text has."""
        lookup, idf_V = self._ensure_lookup()
        keys_T = np.concatenate(
            [_known_ngrams(lookup, ngrams, len(idf_V))[0] for ngrams in extract_ngrams(texts).values()]
        )
        return self._weigh_keys(keys_T, idf_V, len(texts))

    def _weigh_keys(
        self, keys_T: NDArray[np.int64], idf_V: NDArray[np.float32], num_texts: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        rows_T, ids_T, counts_T = _count(keys_T, len(idf_V))
        weights_T = (1 + np.log(counts_T)) * idf_V[ids_T]
        # Both blocks of a text are vectors of their own: two bins a text.
        bins_T = 2 * rows_T + (ids_T >= self.num_word_ngrams)
        weights_T /= np.sqrt(np.bincount(bins_T, weights_T * weights_T))[bins_T]
        return ids_T, weights_T.astype(np.float32), np.bincount(rows_T, minlength=num_texts)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._lookup = None

    def _ensure_lookup(self) -> tuple[NgramLookup, NDArray[np.float32]]:
        if self._lookup is None:
            vocabulary = self.vocabulary
            # Two threads may both build it: they build the same, and the last one stays.
            self._lookup = NgramLookup(vocabulary), vocabulary.idf_V
        return self._lookup


def _clean_pair(pair: tuple[str, str], max_characters: int) -> tuple[str, bool]:
    title, title_cut = clean_and_cut(pair[0], max_characters=max_characters)
    if not pair[1]:
        return title, title_cut
    description, description_cut = clean_and_cut(pair[1], max_characters=max_characters)
    return f"{title} {description}".strip(), title_cut or description_cut


def _known_ngrams(
    lookup: NgramLookup, ngrams: Ngrams, num_ngrams: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One number for each occurrence of a known n-gram, its text times V plus its id, and which they are."""
    ids_T = lookup.find(ngrams.hashes_T)
    known = np.flatnonzero(ids_T != UNKNOWN)
    return ngrams.rows_T[known] * num_ngrams + ids_T[known], known


def _count(
    keys_T: NDArray[np.int64], num_ngrams: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Text, id and number of occurrences of each n-gram of each text, rising by text and by id."""
    keys_T.sort()
    firsts = np.flatnonzero(np.append(True, keys_T[1:] != keys_T[:-1])[: len(keys_T)])
    counts = np.diff(firsts, append=len(keys_T))
    return *np.divmod(keys_T[firsts], num_ngrams), counts
