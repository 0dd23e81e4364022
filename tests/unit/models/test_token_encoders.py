"""Encoders that read tokens: the contract, what they compute, and how they are stored."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, CamembertConfig, DistilBertConfig

from models.bundle import BundleMetadata, read_bundle, write_bundle
from models.errors import BundleError, ModelError
from models.fusion import FusionNetwork
from models.inputs import Product
from models.labels import LabelSet
from models.text.base import TextEncoder
from models.text.embedding_bag import EmbeddingBagEncoder
from models.text.lora import add_lora, merge_lora
from models.text.tokenizer import TOKENIZER_FILE, Tokenizer
from models.text.transformer import TransformerEncoder, build_trunk
from tests.contracts.text_encoder import TEXTS, TextEncoderContract, evidence
from training.tokenizer_sources import load_tokenizer

NUM_CATEGORIES = 5
WORDS = [("robot piscine electrique nettoie le fond", "livre ancien canape d'angle convertible")] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer("catalogue", WORDS, vocabulary_size=120)


def transformer(
    tokenizer: Tokenizer, kind: type[Any] = CamembertConfig, **settings: Any
) -> TransformerEncoder:
    torch.manual_seed(1)
    names = {"dim": 16, "hidden_dim": 32, "n_heads": 2, "n_layers": 2}
    if kind is not DistilBertConfig:
        names = {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
        }
    config = kind(vocab_size=len(tokenizer), max_position_embeddings=140, pad_token_id=1, **names, **settings)
    return TransformerEncoder(build_trunk(config), tokenizer, NUM_CATEGORIES).eval()


class TestEmbeddingBagKeepsTheContract(TextEncoderContract):
    @pytest.fixture
    def encoder(self, tokenizer: Tokenizer) -> TextEncoder:
        torch.manual_seed(1)
        return EmbeddingBagEncoder(tokenizer, NUM_CATEGORIES, embedding_dim=8).eval()


class TestTransformerKeepsTheContract(TextEncoderContract):
    @pytest.fixture(params=[CamembertConfig, BertConfig, DistilBertConfig])
    def encoder(self, tokenizer: Tokenizer, request: pytest.FixtureRequest) -> TextEncoder:
        return transformer(tokenizer, request.param)


def test_the_bag_is_the_mean_of_its_tokens(tokenizer: Tokenizer) -> None:
    encoder = EmbeddingBagEncoder(tokenizer, NUM_CATEGORIES, embedding_dim=4).eval()
    torch.nn.init.uniform_(encoder.bias_C)
    ids, _ = tokenizer.encode("robot piscine", max_tokens=100)
    expected_C = encoder.weight_CD @ encoder.table_VD[ids].mean(dim=0) + encoder.bias_C
    found_BC = evidence(encoder, encoder.featurize([("ROBOT piscine", ""), ("robot", "piscine")]))
    torch.testing.assert_close(found_BC, expected_C.expand(2, -1), rtol=1e-5, atol=1e-6)


def test_tokens_beyond_the_limit_are_left_out_and_told(tokenizer: Tokenizer) -> None:
    encoder = EmbeddingBagEncoder(tokenizer, NUM_CATEGORIES, max_tokens=3)
    features = encoder.featurize([("robot " * 50, ""), ("robot", "")])
    assert features.truncated_B.tolist() == [True, len(tokenizer.encode("robot", max_tokens=99)[0]) > 3]
    assert np.diff(features.offsets_B1).max() == 3


def test_special_tokens_stay_around_a_text_that_is_cut(tokenizer: Tokenizer) -> None:
    whole, _ = tokenizer.encode("robot " * 50, max_tokens=1000, special=True)
    cut, truncated = tokenizer.encode("robot " * 50, max_tokens=10, special=True)
    assert truncated
    assert cut == [*whole[:9], whole[-1]]


def test_a_token_that_does_not_count_changes_nothing_in_the_transformer(tokenizer: Tokenizer) -> None:
    encoder = transformer(tokenizer)
    alone_BC = evidence(encoder, encoder.featurize([("robot", "")]))
    beside_BC = evidence(encoder, encoder.featurize([("robot", ""), ("piscine " * 60, "")]))[:1]
    torch.testing.assert_close(alone_BC, beside_BC, rtol=1e-5, atol=1e-6)


def test_low_rank_changes_start_at_nothing_and_are_merged_exactly(tokenizer: Tokenizer) -> None:
    encoder = transformer(tokenizer)
    features = encoder.featurize(TEXTS)
    before_BC = evidence(encoder, features)
    names = set(encoder.state_dict())
    add_lora(encoder.trunk, rank=2)
    assert torch.equal(evidence(encoder, features), before_BC)
    learnt = [name for name, each in encoder.trunk.named_parameters() if each.requires_grad]
    assert len(learnt) == 2 * 2 * 2
    for parameter in encoder.trunk.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    changed_BC = evidence(encoder, features)
    assert not torch.allclose(changed_BC, before_BC, atol=1e-3)
    merge_lora(encoder.trunk)
    torch.testing.assert_close(evidence(encoder, features), changed_BC, rtol=1e-5, atol=1e-6)
    assert set(encoder.state_dict()) == names


def test_low_rank_changes_need_attention() -> None:
    with pytest.raises(ModelError, match="full or frozen"):
        add_lora(torch.nn.Linear(2, 2))


def test_a_trunk_that_learns_nothing_stays_in_evaluation_mode(tokenizer: Tokenizer) -> None:
    encoder = transformer(tokenizer)
    encoder.trunk.requires_grad_(requires_grad=False)
    encoder.train()
    assert not encoder.trunk.training
    assert encoder.dropout.training


@pytest.mark.parametrize("kind", ["embedding_bag", "transformer"])
def test_a_version_comes_back_with_its_tokeniser(tokenizer: Tokenizer, kind: str, tmp_path: Path) -> None:
    builders: dict[str, Callable[[], TextEncoder]] = {
        "embedding_bag": lambda: EmbeddingBagEncoder(tokenizer, NUM_CATEGORIES),
        "transformer": lambda: transformer(tokenizer),
    }
    network = FusionNetwork(builders[kind](), None, NUM_CATEGORIES).eval()
    labels = LabelSet.from_codes(range(NUM_CATEGORIES))
    golden = [Product(f"robot {number}") for number in range(8)]
    write_bundle(tmp_path / "1", network, labels, name="m", version="1", metadata=BundleMetadata(golden))
    bundle = read_bundle(tmp_path / "1")
    assert bundle.manifest.text is not None
    assert bundle.manifest.text.assets == [TOKENIZER_FILE]
    assert (tmp_path / "1" / TOKENIZER_FILE).read_bytes() == tokenizer.data


def test_a_damaged_tokeniser_is_refused(tokenizer: Tokenizer) -> None:
    for data in (b"", b"{}", tokenizer.data[:-20], b"\xff\xfe"):
        with pytest.raises(BundleError, match=TOKENIZER_FILE):
            Tokenizer(data)


def test_a_foreign_configuration_is_refused(tokenizer: Tokenizer) -> None:
    assets = {TOKENIZER_FILE: tokenizer.data}
    for kind in (EmbeddingBagEncoder, TransformerEncoder):
        with pytest.raises(BundleError, match="configuration"):
            kind.from_config({"num_tokens": len(tokenizer)}, assets)
        with pytest.raises(BundleError, match="missing"):
            kind.from_config({}, {})
    config = EmbeddingBagEncoder(tokenizer, 2).config() | {"num_tokens": 7}
    with pytest.raises(BundleError, match="7"):
        EmbeddingBagEncoder.from_config(config, assets)


def test_an_encoder_too_small_for_its_tokeniser_is_refused(tokenizer: Tokenizer) -> None:
    config = BertConfig(vocab_size=5, hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    with pytest.raises(BundleError, match="knows 5"):
        TransformerEncoder(build_trunk(config), tokenizer, 2)
    config = BertConfig(
        vocab_size=500, hidden_size=16, num_attention_heads=2, num_hidden_layers=1, max_position_embeddings=20
    )
    with pytest.raises(BundleError, match="places for 18"):
        TransformerEncoder(build_trunk(config), tokenizer, 2)


def test_transformers_is_loaded_for_transformers_only() -> None:
    code = "import sys, models.kinds; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
