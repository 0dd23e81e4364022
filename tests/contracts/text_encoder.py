"""What every text encoder keeps to, whatever it reads and learns."""

import json
from concurrent.futures import ThreadPoolExecutor
from time import process_time

import numpy as np
import pytest
import torch
from torch import Tensor

from models.inputs import PreparedBatch, TextFeatures
from models.text.base import TextEncoder

TEXTS = [
    ("Robot piscine électrique", "<p>Nettoie le fond &amp; les parois</p>"),
    ("", ""),
    ("Livre ancien", ""),
    ("", "Canapé d'angle convertible"),
    ("Robot piscine électrique " * 30, "Robot " * 500),
    ("<br/>", " \u200b "),
    ("日本語のタイトル 🎲", "\ud83d"),
    ("a", "!"),
    ("Livre ancien", "Robot"),
]
HOSTILE_TEXTS = [
    ("&" * 100_000, "<" * 100_000),
    ("\0" * 100_000, "\u202e" * 100_000),
    ("<div><table>" * 9_000, "x" * 100_000),
    ("😀" * 10_000, "e" + "\u0301" * 100_000),
    ('<img src="data:image/png;base64,' + "A" * 1_000_000 + '">', "&#" + "9" * 100_000),
]
TOLERANCE = 1e-5
"""Of evidence computed in float32, in parts of its largest value."""


def evidence(encoder: TextEncoder, features: TextFeatures) -> torch.Tensor:
    num_texts = features.num_texts
    batch = PreparedBatch(
        text=features,
        pixels_NHWK=np.zeros((0, 1, 1, 3), np.uint8),
        image_rows_N=np.zeros(0, np.int64),
        image_reasons=(None,) * num_texts,
    )
    with torch.inference_mode():
        evidence_BC: Tensor = encoder(batch.to_tensors(torch.device("cpu")))
    return evidence_BC


def assert_same_features(features: TextFeatures, others: TextFeatures) -> None:
    for name in ("ids_T", "weights_T", "offsets_B1", "present_B", "truncated_B"):
        np.testing.assert_array_equal(getattr(features, name), getattr(others, name), err_msg=name)


class TextEncoderContract:
    """Inherit and give an `encoder`: in evaluation mode, with weights that are not all alike."""

    @pytest.fixture
    def encoder(self) -> TextEncoder:
        raise NotImplementedError

    def test_features_are_packed_by_text(self, encoder: TextEncoder) -> None:
        features = encoder.featurize(TEXTS)
        assert features.ids_T.dtype == np.int64
        assert features.weights_T.dtype == np.float32
        assert features.offsets_B1.dtype == np.int64
        assert features.present_B.dtype == features.truncated_B.dtype == np.bool_
        assert len(features.ids_T) == len(features.weights_T) == features.offsets_B1[-1]
        assert (
            len(features.present_B) == len(features.truncated_B) == len(features.offsets_B1) - 1 == len(TEXTS)
        )
        assert features.offsets_B1[0] == 0
        assert np.all(np.diff(features.offsets_B1) >= 0)
        assert np.all(np.isfinite(features.weights_T))

    def test_a_text_has_the_same_features_alone_and_in_any_batch(self, encoder: TextEncoder) -> None:
        together = encoder.featurize(TEXTS)
        for row, text in enumerate(TEXTS):
            assert_same_features(encoder.featurize([text]), together.select([row]))
        order = np.random.default_rng(1).permutation(len(TEXTS))
        assert_same_features(encoder.featurize([TEXTS[row] for row in order]), together.select(order))

    def test_a_text_has_the_same_evidence_alone_and_in_any_batch(self, encoder: TextEncoder) -> None:
        features = encoder.featurize(TEXTS)
        together_BC = evidence(encoder, features)
        alone_BC = torch.cat([evidence(encoder, features.select([row])) for row in range(len(TEXTS))])
        torch.testing.assert_close(
            together_BC, alone_BC, rtol=TOLERANCE, atol=TOLERANCE * float(together_BC.abs().max())
        )

    def test_evidence_is_a_float32_for_each_category(self, encoder: TextEncoder) -> None:
        evidence_BC = evidence(encoder, encoder.featurize(TEXTS))
        assert evidence_BC.dtype == torch.float32
        assert evidence_BC.shape == (len(TEXTS), encoder.num_categories)
        assert evidence_BC.isfinite().all()
        assert evidence_BC.std() > 0, "all evidence is alike: nothing is tested"

    def test_texts_without_anything_to_read_are_absent_and_have_no_evidence(
        self, encoder: TextEncoder
    ) -> None:
        features = encoder.featurize([("", ""), ("<br/>", "&nbsp;\u200b"), ("Robot", "")])
        assert features.present_B.tolist() == [False, False, True]
        assert features.offsets_B1[2] == 0
        assert not evidence(encoder, features)[:2].any()

    def test_no_texts_give_no_evidence(self, encoder: TextEncoder) -> None:
        features = encoder.featurize([])
        assert features.num_texts == 0
        assert evidence(encoder, features).shape == (0, encoder.num_categories)

    def test_title_and_description_are_both_read(self, encoder: TextEncoder) -> None:
        features = encoder.featurize([("Robot piscine", ""), ("", "Robot piscine"), ("Robot", "piscine")])
        assert np.all(np.diff(features.offsets_B1) > 0)

    def test_many_threads_get_what_one_gets(self, encoder: TextEncoder) -> None:
        alone = encoder.featurize(TEXTS)
        with ThreadPoolExecutor(8) as executor:
            for features in executor.map(encoder.featurize, [TEXTS] * 64):
                assert_same_features(features, alone)

    def test_hostile_texts_take_bounded_time(self, encoder: TextEncoder) -> None:
        encoder.featurize(TEXTS)
        for text in HOSTILE_TEXTS:
            start = process_time()
            evidence_BC = evidence(encoder, encoder.featurize([text]))
            assert process_time() - start < 0.5
            assert evidence_BC.isfinite().all()

    def test_what_was_stored_comes_back_the_same(self, encoder: TextEncoder) -> None:
        config = json.loads(json.dumps(encoder.config(), allow_nan=False))
        restored = type(encoder).from_config(config, encoder.assets())
        restored.load_state_dict(encoder.state_dict())
        restored.eval()
        assert restored.config() == encoder.config()
        assert restored.assets() == encoder.assets()
        features = encoder.featurize(TEXTS)
        assert_same_features(restored.featurize(TEXTS), features)
        assert torch.equal(evidence(restored, features), evidence(encoder, features))
