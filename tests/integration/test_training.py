"""A trained version: better with both modalities than with either, served as it was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.catalogue_products import product_of
from models.inputs import Product
from models.repository import ModelRepository
from models.runtime import Classifier
from models.snapshot import Feature, Observed
from schemas.catalogue import CatalogueRow, read_catalogue
from stream_app import cli


@pytest.fixture(scope="module")
def classifier(demo_repository: Path) -> Classifier:
    return Classifier.load(ModelRepository(demo_repository).resolve("demo@champion").folder)


@pytest.fixture(scope="module")
def held_out(sample_catalogue: Path) -> list[CatalogueRow]:
    """Rows no encoder has learnt from that have both a text and a picture."""
    rows = read_catalogue(sample_catalogue)
    return [row for row in rows if row.split == "val" and row.image_path is not None and row.title]


def accuracy(classifier: Classifier, rows: list[CatalogueRow], *, text: bool, image: bool) -> float:
    products = [
        Product(
            row.title if text else "",
            row.description if text else "",
            row.image_path.read_bytes() if image and row.image_path else None,
        )
        for row in rows
    ]
    predicted = classifier.score(classifier.prepare(products)).logits_BC.argmax(axis=1)
    truth = classifier.labels.indices([str(row.category) for row in rows])
    return float(np.mean(predicted == truth))


def test_fusion_beats_text_alone_and_picture_alone(
    classifier: Classifier, held_out: list[CatalogueRow]
) -> None:
    both = accuracy(classifier, held_out, text=True, image=True)
    assert both > accuracy(classifier, held_out, text=True, image=False) + 0.03
    assert both > accuracy(classifier, held_out, text=False, image=True) + 0.03
    assert both > 3 / len(classifier.labels.codes)


def test_no_file_of_a_version_is_a_pickle(demo_repository: Path) -> None:
    folder = ModelRepository(demo_repository).resolve("demo@champion").folder
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".md"}


def test_the_snapshot_is_what_the_version_assigns_to_the_rows_held_out(
    classifier: Classifier,
    sample_catalogue: Path,
    demo_repository: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [row for row in read_catalogue(sample_catalogue) if row.split == "val"]
    prepared = classifier.prepare([product_of(row) for row in rows])
    observed = Observed.of(
        classifier.score(prepared).probabilities_BC,
        ((row.title, row.description) for row in rows),
        prepared.image_present_B,
    )
    snapshot = classifier.snapshot
    assert snapshot is not None
    assert snapshot.rows == len(rows)
    served = snapshot.count(observed)
    assert {feature: snapshot.drift(feature, served[feature]) for feature in Feature} == dict.fromkeys(
        Feature, 0
    )
    assert served[Feature.TEXT_LENGTH].tolist() == snapshot.text_length.counts
    assert served[Feature.IMAGE].tolist() == snapshot.image
    with pytest.raises(SystemExit):
        cli.main(["models", "show", "demo", "--repository", str(demo_repository), "--json"])
    shown = json.loads(capsys.readouterr().out)["metrics"]["snapshot"]
    assert shown == snapshot.model_dump()
    # Rows that nothing was learnt from are not all as certain as those that were.
    assert snapshot.confidence.edges[0] < 0.9
