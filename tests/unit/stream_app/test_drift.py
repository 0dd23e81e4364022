"""The window of drift: bounded, of one version, and no value where there is nothing to compare."""

import math
from pathlib import Path

import numpy as np
import pytest

from models.inputs import PreparedBatch, Scores, TextFeatures
from models.labels import LabelSet
from models.snapshot import Feature, Observed, Snapshot
from schemas.assignments import ModelReference
from schemas.products import ProductListed
from stream_app.drift import MIN_EVENTS, DriftWatch
from stream_app.metrics import ServiceMetrics
from stream_app.stages import Listing, Scored
from tests.unit.stream_app.records import PlainRecord

LABELS = LabelSet.from_codes([10, 20])
FIRST, SECOND = ModelReference(name="m", version="1"), ModelReference(name="m", version="2")
WINDOW = 1_000


def probabilities(categories: np.ndarray) -> np.ndarray:
    return np.where(categories[:, None] == np.arange(2), 0.8, 0.2).astype(np.float32)


@pytest.fixture
def snapshot() -> Snapshot:
    """Of 100 rows, one category as often as the other, texts of 5 characters, no pictures."""
    categories = np.arange(100) % 2
    rows = Observed.of(probabilities(categories), [("Lampe", None)] * 100, np.zeros(100, np.bool_))
    found = Snapshot.of(rows, 2)
    assert found is not None
    return found


def batch(
    num: int, model: ModelReference = FIRST, category: int | None = None, *, skipped: bool = False
) -> Scored:
    categories = np.arange(num) % 2 if category is None else np.full(num, category)
    probabilities_BC = probabilities(categories)
    listing = Listing(
        PlainRecord(), ProductListed(event_id="e", product_id="p", title="Lampe"), picture_skipped=skipped
    )
    return Scored(
        [listing] * num,
        PreparedBatch.of_texts(TextFeatures.absent(num)),
        Scores(np.log(probabilities_BC), probabilities_BC),
        model,
        LABELS,
    )


def test_there_is_no_value_for_few_events_or_without_a_snapshot(snapshot: Snapshot) -> None:
    watch = DriftWatch(WINDOW)
    assert math.isnan(watch.psi(Feature.CATEGORY))
    watch.add(batch(MIN_EVENTS - 1), snapshot)
    assert math.isnan(watch.psi(Feature.CATEGORY))
    watch.add(batch(1), snapshot)
    assert [watch.psi(feature) for feature in Feature] == [0, 0, 0, 0]
    watch.add(batch(MIN_EVENTS, SECOND), None)
    assert watch.num_events == 0
    assert math.isnan(watch.psi(Feature.CATEGORY))


def test_another_version_begins_anew_and_the_same_one_goes_on(snapshot: Snapshot) -> None:
    watch = DriftWatch(WINDOW)
    watch.add(batch(MIN_EVENTS, category=0), snapshot)
    assert watch.psi(Feature.CATEGORY) > 0.25
    watch.add(batch(MIN_EVENTS, SECOND), snapshot)
    watch.add(batch(MIN_EVENTS, SECOND), snapshot)
    assert watch.num_events == 2 * MIN_EVENTS
    assert watch.psi(Feature.CATEGORY) == 0


def test_old_events_leave_the_window(snapshot: Snapshot) -> None:
    watch = DriftWatch(WINDOW)
    watch.add(batch(WINDOW, category=0), snapshot)
    for _ in range(WINDOW // 50 + 4):
        watch.add(batch(50), snapshot)
        assert watch.num_events <= 2 * WINDOW
    assert watch.psi(Feature.CATEGORY) == 0
    assert 0.9 * WINDOW <= watch.num_events <= WINDOW


def test_a_picture_that_is_skipped_counts_as_one(snapshot: Snapshot) -> None:
    watch = DriftWatch(WINDOW)
    watch.add(batch(MIN_EVENTS, skipped=True), snapshot)
    assert watch.psi(Feature.IMAGE) > 0.25
    assert watch.psi(Feature.TEXT_LENGTH) == 0


def test_a_batch_of_dead_letters_counts_nothing(snapshot: Snapshot) -> None:
    watch = DriftWatch(WINDOW)
    watch.add(Scored((), None, None, FIRST, LABELS), snapshot)
    assert watch.num_events == 0


def test_a_scrape_asks_for_the_drift_of_the_moment(snapshot: Snapshot) -> None:
    metrics, watch = ServiceMetrics(), DriftWatch(WINDOW)

    def drift() -> float | None:
        return metrics.registry.get_sample_value("shelver_drift_psi", {"feature": "category"})

    assert math.isnan(drift() or 0)
    metrics.watch_drift(watch.psi, lambda: watch.num_events)
    watch.add(batch(MIN_EVENTS, category=0), snapshot)
    assert (drift() or 0) > 0.25
    assert metrics.registry.get_sample_value("shelver_drift_events") == MIN_EVENTS


def test_versions_are_loaded_with_their_snapshot(snapshot: Snapshot, tmp_path: Path) -> None:
    from models.bundle import write_bundle
    from models.errors import BundleError
    from models.runtime import Classifier
    from tests.tiny_models import LABELS as TINY_LABELS
    from tests.tiny_models import TINY_KINDS, metadata, tiny_network

    held_out = snapshot.model_dump()
    for version, categories in (("1", [50, 50]), ("2", [50, 50, 0])):
        written = metadata(metrics={"snapshot": held_out | {"category": categories}})
        folder = tmp_path / "tiny" / version
        write_bundle(folder, tiny_network(), TINY_LABELS, name="tiny", version=version, metadata=written)
    with pytest.raises(BundleError, match="counts 2 categories, the version has 3"):
        Classifier.load(tmp_path / "tiny" / "1", kinds=TINY_KINDS)
    loaded = Classifier.load(tmp_path / "tiny" / "2", kinds=TINY_KINDS).snapshot
    assert loaded is not None
    assert loaded.rows == 100
