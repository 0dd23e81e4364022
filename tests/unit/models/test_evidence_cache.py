"""The same text and the same picture are prepared and computed once, and nobody can tell from the scores."""

import itertools
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from models.errors import ImageReason
from models.evidence_cache import (
    ENTRY_OVERHEAD_BYTES,
    EvidenceCache,
    EvidenceLookup,
    Modality,
    digest_of_picture,
    digest_of_text,
)
from models.inputs import PreparedBatch, Product
from models.preprocessing import Preprocessor
from models.runtime import Classifier
from tests.tiny_models import TINY_KINDS, TinyImage, TinyText, picture, write_tiny_bundle

RED, BLUE, GREEN = picture((250, 10, 10)), picture((10, 10, 250)), picture((10, 250, 10))
BROKEN = b"\x89PNG\r\n\x1a\n broken"
PRODUCTS = [
    Product("Lampe", image=RED),
    Product("Livre"),
    Product("Stylo", image=BLUE),
    Product("Lampe", image=RED),
    Product("", image=BROKEN),
    Product("Chaise", image=BROKEN),
    Product("Table", image_reason=ImageReason.NOT_FOUND),
    Product("", image=GREEN),
]
TEXTS = ["", "le", "Lampe", "Lampe bleue", "a b c d e f g h i j k l m", "\ud83d", "é"]


def some_products() -> st.SearchStrategy[list[Product]]:
    """Few different texts and pictures, so that most of a batch repeats."""
    one = st.builds(
        Product,
        title=st.sampled_from(TEXTS),
        description=st.sampled_from(TEXTS),
        image=st.sampled_from([None, RED, BLUE, GREEN, BROKEN]),
    )
    return st.lists(one, max_size=8)


class Counted:
    """A cache and what it told."""

    def __init__(self, max_bytes: int = 2**20) -> None:
        self.lookups: Counter[tuple[Modality, EvidenceLookup]] = Counter()
        self.cache = EvidenceCache(max_bytes, on_lookup=self._count)

    def _count(self, modality: Modality, what: EvidenceLookup, num_contents: int) -> None:
        self.lookups[modality, what] += num_contents

    def outcomes(self, modality: Modality) -> dict[EvidenceLookup, int]:
        """What was done about texts or pictures, and how often."""
        return {what: self.lookups[modality, what] for what in EvidenceLookup if self.lookups[modality, what]}


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository") / "tiny" / "1"
    write_tiny_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def exact(version: Path) -> Classifier:
    return Classifier.load(version, kinds=TINY_KINDS)


@pytest.fixture
def sharing(version: Path, counted: Counted) -> Classifier:
    return Classifier.load(version, kinds=TINY_KINDS, cache=counted.cache)


def assert_same(sharing: Classifier, exact: Classifier, given: list[Product], found: PreparedBatch) -> None:
    expected = exact.prepare(given)
    assert found.image_reasons == expected.image_reasons
    np.testing.assert_array_equal(found.text_present_B, expected.text_present_B)
    np.testing.assert_array_equal(found.text_truncated_B, expected.text_truncated_B)
    np.testing.assert_array_equal(found.image_rows_N, expected.image_rows_N)
    np.testing.assert_allclose(
        sharing.score(found).probabilities_BC, exact.score(expected).probabilities_BC, rtol=0, atol=1e-5
    )


def test_a_picture_is_computed_once_in_a_batch_and_not_at_all_in_the_next(
    sharing: Classifier, exact: Classifier, counted: Counted
) -> None:
    first = sharing.prepare_to_score(PRODUCTS)
    assert len(first.pixels_NHWK) == 3
    assert_same(sharing, exact, PRODUCTS, first)
    assert counted.outcomes(Modality.IMAGE) == {EvidenceLookup.MISS: 4, EvidenceLookup.SHARED: 2}
    second = sharing.prepare_to_score(PRODUCTS)
    assert not len(second.pixels_NHWK)
    assert_same(sharing, exact, PRODUCTS, second)
    assert counted.lookups[Modality.IMAGE, EvidenceLookup.HIT] == 6


def test_a_text_is_computed_once_in_a_batch_and_not_at_all_in_the_next(
    sharing: Classifier, exact: Classifier, counted: Counted
) -> None:
    first = sharing.prepare_to_score(PRODUCTS)
    assert (first.text.num_texts, first.num_products) == (6, 8)
    assert_same(sharing, exact, PRODUCTS, first)
    assert counted.outcomes(Modality.TEXT) == {EvidenceLookup.MISS: 6, EvidenceLookup.SHARED: 2}
    given = [*PRODUCTS[::-1], Product("Neu")]
    second = sharing.prepare_to_score(given)
    assert second.text.num_texts == 1
    assert_same(sharing, exact, given, second)
    assert counted.lookups[Modality.TEXT, EvidenceLookup.HIT] == 8


@hypothesis.settings(max_examples=50)
@hypothesis.given(
    batches=st.lists(some_products(), min_size=1, max_size=3),
    max_bytes=st.sampled_from([2**20, 3 * ENTRY_OVERHEAD_BYTES]),
    data=st.data(),
)
def test_whatever_repeats_and_is_cut_scores_as_it_would_alone(
    version: Path, exact: Classifier, batches: list[list[Product]], max_bytes: int, data: st.DataObject
) -> None:
    sharing = Classifier.load(version, kinds=TINY_KINDS, cache=EvidenceCache(max_bytes))
    parts, given_in_parts = [], []
    for batch in batches:
        rows = data.draw(st.lists(st.integers(0, len(batch) - 1), max_size=10) if batch else st.just([]))
        prepared = sharing.prepare_to_score(batch)
        assert_same(sharing, exact, batch, prepared)
        assert_same(sharing, exact, [batch[row] for row in rows], prepared.select(rows))
        parts += [prepared, prepared.select(rows).select(np.arange(len(rows)) % 2 == 0)]
        given_in_parts += [*batch, *(batch[row] for row in rows[::2])]
    assert_same(sharing, exact, given_in_parts, PreparedBatch.concatenate(parts))


@hypothesis.given(first=st.tuples(st.text(), st.text()), second=st.tuples(st.text(), st.text()))
def test_only_the_same_text_has_the_same_digest(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert (digest_of_text(*first) == digest_of_text(*second)) == (first == second)


def test_a_text_that_is_split_or_coded_in_another_way_is_another_one() -> None:
    pairs = [
        ("ab", ""),
        ("a", "b"),
        ("", "ab"),
        ("a\xffb", ""),
        ("a", "\xffb"),
        ("\ud83d\ude00", ""),
        ("\ud83d", "\ude00"),
        ("\N{GRINNING FACE}", ""),
        ("\xed\xa0\xbd", ""),
        ("\ud83d", ""),
    ]
    digests = {digest_of_text(*pair) for pair in pairs}
    assert len(digests) == len(pairs)
    assert digest_of_picture(b"ab\xff") not in digests


def test_known_and_new_pictures_mix_in_any_order(sharing: Classifier, exact: Classifier) -> None:
    sharing.score(sharing.prepare_to_score([Product(image=BLUE), Product(image=BROKEN)]))
    for given in itertools.permutations(PRODUCTS[2:6]):
        batch = [*given, Product("x", image=GREEN)]
        assert_same(sharing, exact, batch, sharing.prepare_to_score(batch))


@pytest.mark.parametrize("known", [(), (RED,), (BLUE, GREEN), (RED, BLUE, GREEN)])
def test_a_batch_that_is_cut_and_put_together_scores_the_same(
    sharing: Classifier, exact: Classifier, known: tuple[bytes, ...]
) -> None:
    sharing.score(sharing.prepare_to_score([Product(image=data) for data in known]))
    prepared = sharing.prepare_to_score(PRODUCTS)
    for rows in ([7, 3, 0, 3], [1, 6], [4], [2, 0], [*range(8)]):
        given = [PRODUCTS[row] for row in rows]
        assert_same(sharing, exact, given, prepared.select(rows))
        parts = [prepared.select(rows), sharing.prepare_to_score(PRODUCTS), prepared.select([0])]
        assert_same(sharing, exact, [*given, *PRODUCTS, PRODUCTS[0]], PreparedBatch.concatenate(parts))


def test_only_texts_and_pixels_that_are_asked_for_are_selected(sharing: Classifier) -> None:
    prepared = sharing.prepare_to_score(PRODUCTS)
    assert prepared.select([0, 3, 0]).text.num_texts == 1
    assert len(prepared.select([0, 3]).pixels_NHWK) == 1
    assert not len(prepared.select([1, 4]).pixels_NHWK)


def test_shared_and_plain_parts_are_no_batch(sharing: Classifier) -> None:
    parts = [sharing.prepare(PRODUCTS), sharing.prepare_to_score(PRODUCTS)]
    with pytest.raises(ValueError, match="cannot be one batch"):
        PreparedBatch.concatenate(parts)


def test_no_products_and_no_pictures_are_fine(sharing: Classifier, exact: Classifier) -> None:
    for given in ([], [Product("Lampe")]):
        assert_same(sharing, exact, given, sharing.prepare_to_score(given))


def test_without_a_cache_everything_is_prepared(exact: Classifier) -> None:
    prepared = exact.prepare_to_score(PRODUCTS)
    assert (prepared.shared_texts, prepared.shared_pictures) == (None, None)
    assert (prepared.text.num_texts, len(prepared.pixels_NHWK)) == (8, 4)


def test_explanations_get_known_texts_and_the_pixels_of_known_pictures(sharing: Classifier) -> None:
    sharing.score(sharing.prepare_to_score(PRODUCTS))
    prepared = sharing.prepare(PRODUCTS)
    assert (prepared.text.num_texts, len(prepared.pixels_NHWK)) == (8, 4)


def test_a_model_compares_only_what_it_reads(counted: Counted) -> None:
    of_texts = Preprocessor(TinyText(), None).prepare_to_score(PRODUCTS, counted.cache)
    assert (of_texts.num_products, of_texts.shared_pictures) == (8, None)
    assert {modality for modality, _ in counted.lookups} == {Modality.TEXT}
    counted.lookups.clear()
    of_pictures = Preprocessor(None, TinyImage()).prepare_to_score(PRODUCTS, counted.cache)
    assert (of_pictures.num_products, of_pictures.shared_texts) == (8, None)
    assert {modality for modality, _ in counted.lookups} == {Modality.IMAGE}


@pytest.mark.parametrize(("text", "image"), [(True, False), (False, True)])
def test_a_model_of_one_encoder_scores_the_same(tmp_path: Path, text: bool, image: bool) -> None:
    write_tiny_bundle(tmp_path / "tiny" / "1", text=text, image=image)
    exact = Classifier.load(tmp_path / "tiny" / "1", kinds=TINY_KINDS)
    sharing = Classifier.load(tmp_path / "tiny" / "1", kinds=TINY_KINDS, cache=EvidenceCache(2**20))
    for given in (PRODUCTS, PRODUCTS[::-1], []):
        assert_same(sharing, exact, given, sharing.prepare_to_score(given))


def test_a_picture_that_can_never_be_used_is_not_tried_again(counted: Counted) -> None:
    preprocessor = Preprocessor(None, TinyImage())
    for _ in range(2):
        prepared = preprocessor.prepare_to_score([Product(image=BROKEN)], counted.cache)
        assert prepared.image_reasons == preprocessor.prepare([Product(image=BROKEN)]).image_reasons
    assert counted.lookups[Modality.IMAGE, EvidenceLookup.HIT] == 1


def test_a_picture_that_was_late_or_found_no_memory_is_tried_again(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 1_000.0])
    late = Preprocessor(None, TinyImage(), clock=lambda: next(times))
    assert late.prepare_to_score([Product(image=RED)] * 2, counted.cache).image_reasons == (
        ImageReason.TIMEOUT,
        ImageReason.TIMEOUT,
    )
    with monkeypatch.context() as patch:
        patch.setattr("models.image.decoding._decode", _no_memory)
        prepared = Preprocessor(None, TinyImage()).prepare_to_score([Product(image=RED)], counted.cache)
        assert prepared.image_reasons != (None,)
    assert not len(counted.cache)
    assert Preprocessor(None, TinyImage()).prepare_to_score(
        [Product(image=RED)], counted.cache
    ).image_reasons == (None,)


def _no_memory(*_: object) -> None:
    raise MemoryError


def test_evidence_that_is_not_finite_is_not_kept(counted: Counted) -> None:
    counted.cache.keep_evidence([b"a", b"b"], np.array([[1, np.nan], [1, 2]], np.float32))
    assert list(counted.cache.look_up(Modality.TEXT, [b"a", b"b"])) == [b"b"]


def test_a_text_that_is_not_scored_as_a_finite_number_is_computed_again(sharing: Classifier) -> None:
    with torch.no_grad():
        sharing.network.get_parameter("text.table_VC").fill_(float("nan"))
    scores = sharing.score(sharing.prepare_to_score([Product("Lampe"), Product("", image=RED)]))
    assert scores.finite_B.tolist() == [False, True]
    prepared = sharing.prepare_to_score([Product("Lampe"), Product("", image=RED)])
    assert (prepared.text.num_texts, len(prepared.pixels_NHWK)) == (1, 0)


def test_what_was_looked_up_longest_ago_goes_first_and_the_bytes_are_bounded() -> None:
    cost = ENTRY_OVERHEAD_BYTES + 8
    cache = EvidenceCache(2 * cost + 1)
    for number in range(2):
        cache.keep_evidence([b"%d" % number], np.zeros((1, 2), np.float32))
    cache.look_up(Modality.TEXT, [b"0"])
    cache.keep_evidence([b"2"], np.zeros((1, 2), np.float32))
    cache.keep_evidence([b"2"], np.zeros((1, 2), np.float32))
    assert set(cache.look_up(Modality.IMAGE, [b"0", b"1", b"2"])) == {b"0", b"2"}
    assert cache.num_bytes == 2 * cost
    cache.keep_reason(b"0", ImageReason.CORRUPT)
    assert cache.num_bytes == cost + ENTRY_OVERHEAD_BYTES


@pytest.mark.parametrize("num_categories", [1, 27, 100])
def test_the_bytes_that_are_counted_are_those_that_are_taken(num_categories: int) -> None:
    cache = EvidenceCache(2**20)
    tracemalloc.start()
    try:
        for first in range(0, 4_096, 64):
            digests = [digest_of_text(str(first + number), "") for number in range(64)]
            cache.keep_evidence(digests, np.zeros((64, num_categories), np.float32), [(True, False)] * 64)
        del digests
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) < 4_096, "the cache never was full"
    assert 0.75 * cache.num_bytes < taken < 1.25 * cache.num_bytes


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = EvidenceCache(10)
    cache.keep_reason(b"0", ImageReason.CORRUPT)
    assert (len(cache), cache.num_bytes) == (0, 0)


def test_threads_share_a_small_cache_and_scores_stay(exact: Classifier, version: Path) -> None:
    cache = EvidenceCache(40 * ENTRY_OVERHEAD_BYTES)
    sharing = Classifier.load(version, kinds=TINY_KINDS, cache=cache)
    files = [picture((shade, 100, 255 - shade)) for shade in range(0, 240, 3)]
    given = [[Product(image=files[place * step % 80]) for place in range(40)] for step in range(1, 25)]
    with ThreadPoolExecutor(1) as scoring, ThreadPoolExecutor(4) as preparing:
        prepared = preparing.map(sharing.prepare_to_score, given)
        scores = list(scoring.map(sharing.score, prepared))
    for products, found in zip(given, scores, strict=True):
        expected = exact.score(exact.prepare(products)).probabilities_BC
        np.testing.assert_allclose(found.probabilities_BC, expected, rtol=0, atol=1e-5)
    assert 0 < cache.num_bytes <= 40 * ENTRY_OVERHEAD_BYTES


def test_pictures_are_decoded_in_the_threads_that_are_given(sharing: Classifier, exact: Classifier) -> None:
    with ThreadPoolExecutor(2) as threads:
        assert_same(sharing, exact, PRODUCTS, sharing.prepare_to_score(PRODUCTS, threads))


def test_files_are_the_same_only_byte_for_byte() -> None:
    assert digest_of_picture(RED) == digest_of_picture(bytes(bytearray(RED)))
    assert digest_of_picture(RED) != digest_of_picture(RED + b"\0")
