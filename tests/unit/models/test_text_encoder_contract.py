"""The contract must fail on text encoders that are wrong, or it proves nothing of one that passes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor

from models.inputs import TensorBatch, TextFeatures
from models.text.base import TextEncoder
from models.text.ngram_bag import NgramBag, fit_vocabulary
from tests.contracts.text_encoder import TEXTS, TextEncoderContract


def ngram_bag(kind: type[NgramBag] = NgramBag) -> NgramBag:
    vocabulary = fit_vocabulary(TEXTS, min_texts_of_word_ngram=1, min_texts_of_char_ngram=1)
    encoder = kind(vocabulary, 5, embedding_dim=8, generator=torch.Generator().manual_seed(1))
    torch.nn.init.uniform_(encoder.bias_C)
    return encoder.eval()


class WeighsByTheBatch(NgramBag):
    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        features = super().featurize(texts)
        largest = features.weights_T.max(initial=1e-6)
        return replace(features, weights_T=features.weights_T / largest)


class RemembersEarlierCalls(NgramBag):
    calls = count(1)

    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        features = super().featurize(texts)
        return replace(features, weights_T=features.weights_T * np.float32(next(self.calls)))


class CentresTheBatch(NgramBag):
    def forward(self, batch: TensorBatch) -> Tensor:
        evidence_BC = super().forward(batch)
        return evidence_BC - evidence_BC.sum(0) / 7


class SpeaksOfAbsentTexts(NgramBag):
    def forward(self, batch: TensorBatch) -> Tensor:
        return super().forward(batch) + self.bias_C


class ReadsTitlesOnly(NgramBag):
    def featurize(self, texts: Sequence[tuple[str, str]]) -> TextFeatures:
        return super().featurize([(title, "") for title, _ in texts])


class AnswersInDoubles(NgramBag):
    def forward(self, batch: TensorBatch) -> Tensor:
        return super().forward(batch).double()


class ForgetsALimit(NgramBag):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_characters = 10

    @classmethod
    def from_config(cls, config: Mapping[str, Any], assets: Mapping[str, bytes]) -> Self:
        encoder = super().from_config(config, assets)
        encoder.max_characters = 20
        return encoder


CASES = TextEncoderContract


@pytest.mark.parametrize(
    ("wrong", "case"),
    [
        (WeighsByTheBatch, CASES.test_a_text_has_the_same_features_alone_and_in_any_batch),
        (RemembersEarlierCalls, CASES.test_many_threads_get_what_one_gets),
        (CentresTheBatch, CASES.test_a_text_has_the_same_evidence_alone_and_in_any_batch),
        (SpeaksOfAbsentTexts, CASES.test_texts_without_anything_to_read_are_absent_and_have_no_evidence),
        (ReadsTitlesOnly, CASES.test_title_and_description_are_both_read),
        (AnswersInDoubles, CASES.test_evidence_is_a_float32_for_each_category),
        (ForgetsALimit, CASES.test_what_was_stored_comes_back_the_same),
    ],
)
def test_a_wrong_encoder_fails(
    wrong: type[NgramBag], case: Callable[[TextEncoderContract, TextEncoder], None]
) -> None:
    case(TextEncoderContract(), ngram_bag())
    with pytest.raises(AssertionError):
        case(TextEncoderContract(), ngram_bag(wrong))
