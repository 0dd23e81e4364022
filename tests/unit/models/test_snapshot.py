"""What a version was measured on is kept, compared by the same code, and told apart from chance."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import BundleError
from models.manifest import decode_json, encode_json
from models.snapshot import METRICS_KEY, MIN_ROWS, Feature, Observed, Snapshot, psi

NUM_CATEGORIES = 4
COUNTS = arrays(np.int64, 5, elements=st.integers(0, 10_000))
TEXTS = st.text(max_size=30)


def observed(
    categories: Sequence[int], confidence: float = 0.9, length: int = 20, *, has_image: bool = True
) -> Observed:
    """Products of ten lengths that else differ in their category only."""
    num = len(categories)
    return Observed(
        category_B=np.array(categories, np.int64),
        confidence_B=np.full(num, confidence),
        text_length_B=length + np.arange(num) // NUM_CATEGORIES % 10,
        has_image_B=np.full(num, has_image),
    )


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    """Products of any features; few values, so that many tie, or many."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num, num_values = draw(st.integers(MIN_ROWS, 300)), draw(st.sampled_from([1, 2, 5, 1_000]))
    return Observed(
        category_B=rng.integers(0, NUM_CATEGORIES, num) % num_values,
        confidence_B=(rng.integers(0, num_values, num) / num_values).round(4),
        text_length_B=rng.integers(0, num_values, num) * draw(st.sampled_from([1, 10**9])),
        has_image_B=rng.integers(0, min(2, num_values), num).astype(np.bool_),
    )


def snapshot_of(products: Observed) -> Snapshot:
    snapshot = Snapshot.of(products, NUM_CATEGORIES)
    assert snapshot is not None
    return snapshot


@given(COUNTS, COUNTS)
def test_the_index_is_finite_symmetric_and_never_negative(first_K: np.ndarray, second_K: np.ndarray) -> None:
    there, back = psi(first_K, second_K), psi(second_K, first_K)
    assert np.isfinite(there)
    assert there >= 0
    assert there == pytest.approx(back)


@given(COUNTS)
def test_equal_shares_have_an_index_of_zero(counts_K: np.ndarray) -> None:
    assert psi(counts_K, counts_K) == 0


def test_the_index_is_that_of_the_textbook() -> None:
    expected_K, served_K = np.array([200_000, 300_000, 500_000]), np.array([400_000, 300_000, 300_000])
    by_hand = (0.2 - 0.4) * np.log(0.2 / 0.4) + (0.5 - 0.3) * np.log(0.5 / 0.3)
    assert psi(expected_K, served_K) == pytest.approx(by_hand, abs=1e-5)


@given(observations())
def test_a_snapshot_goes_through_the_metrics_of_a_version(products: Observed) -> None:
    snapshot = snapshot_of(products)
    metrics = decode_json(encode_json({METRICS_KEY: snapshot.model_dump()}, "metrics.json"), "metrics.json")
    assert Snapshot.of_metrics(metrics, NUM_CATEGORIES) == snapshot


@given(observations(), observations())
def test_every_product_is_counted_once_in_each_feature(measured: Observed, served: Observed) -> None:
    snapshot = snapshot_of(measured)
    for feature, counts_K in snapshot.count(served).items():
        assert counts_K.sum() == len(served.category_B)
        assert len(counts_K) == len(snapshot.counts()[feature])


@given(observations())
def test_the_rows_it_was_taken_of_are_counted_as_they_were_and_have_not_drifted(products: Observed) -> None:
    snapshot = snapshot_of(products)
    counted = snapshot.count(products)
    for feature, expected_K in snapshot.counts().items():
        assert counted[feature].tolist() == expected_K.tolist()
        assert snapshot.drift(feature, counted[feature]) == 0


def test_chance_alone_is_no_drift() -> None:
    """Rows and events of one distribution, few of either: what is left is far below 0.1, mostly 0."""
    drifts = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        rows, events = (
            Observed(
                category_B=rng.integers(0, NUM_CATEGORIES, num),
                confidence_B=rng.random(num),
                text_length_B=rng.integers(0, 1_000, num),
                has_image_B=rng.random(num) < 0.3,
            )
            for num in (100, 500)
        )
        snapshot, served = snapshot_of(rows), snapshot_of(rows).count(events)
        drifts.append([snapshot.drift(feature, served[feature]) for feature in Feature])
    assert np.max(drifts) < 0.25
    assert np.mean(drifts) < 0.02
    assert np.mean(np.array(drifts) == 0) > 0.5


@pytest.mark.parametrize(
    ("changed", "feature"),
    [
        (observed([0] * 600), Feature.CATEGORY),
        (observed([0, 1, 2, 3] * 150, confidence=0.5), Feature.CONFIDENCE),
        (observed([0, 1, 2, 3] * 150, length=500), Feature.TEXT_LENGTH),
        (observed([0, 1, 2, 3] * 150, has_image=False), Feature.IMAGE),
    ],
)
def test_a_feature_that_changes_is_the_one_that_drifts(changed: Observed, feature: Feature) -> None:
    snapshot = snapshot_of(observed([0, 1, 2, 3] * 50))
    served = snapshot.count(changed)
    drifts = {each: snapshot.drift(each, served[each]) for each in Feature}
    assert drifts.pop(feature) > 0.25
    assert set(drifts.values()) == {0}


def test_what_moves_between_rare_categories_is_no_drift() -> None:
    snapshot = snapshot_of(observed([0] * 96 + [1] * 2 + [2] * 2))
    counts = snapshot.count(observed([0] * 960 + [3] * 40))
    assert snapshot.drift(Feature.CATEGORY, counts[Feature.CATEGORY]) == 0


def test_few_rows_make_no_snapshot() -> None:
    assert Snapshot.of(observed([0] * (MIN_ROWS - 1)), NUM_CATEGORIES) is None


@given(TEXTS, st.none() | TEXTS)
def test_the_length_is_that_of_the_text_as_received(title: str, description: str | None) -> None:
    probabilities_BC = np.array([[0.25, 0.75]], np.float32)
    products = Observed.of(probabilities_BC, [(title, description)], np.array([True]))
    assert products.text_length_B.tolist() == [len(title + (description or ""))]
    assert (products.category_B.tolist(), products.confidence_B.tolist()) == ([1], [0.75])


def test_a_version_of_an_older_release_has_none() -> None:
    assert Snapshot.of_metrics({"weighted_f1": 0.8}, NUM_CATEGORIES) is None
    assert Snapshot.of_metrics({METRICS_KEY: None}, NUM_CATEGORIES) is None


GOOD = snapshot_of(observed([0, 1, 2, 3] * 20)).model_dump()


@pytest.mark.parametrize(
    "document",
    [
        "0.1",
        {},
        GOOD | {"rows": 81},
        GOOD | {"image": [80]},
        GOOD | {"category": [-80, 60, 50, 50]},
        GOOD | {"confidence": {"edges": [0.5, 0.5], "counts": [20, 20, 40]}},
        GOOD | {"confidence": {"edges": [0.5], "counts": [20, 20, 40]}},
        GOOD | {"category": [80]},
    ],
)
def test_what_is_no_snapshot_is_a_fault_of_the_version(document: object) -> None:
    with pytest.raises(BundleError, match=r"metrics\.json describes no snapshot: snapshot"):
        Snapshot.of_metrics({METRICS_KEY: document}, NUM_CATEGORIES)
