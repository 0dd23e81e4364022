"""What a version says of its cascade is read back whole, or not at all."""

import numpy as np
import pytest

from models.cascade import Cascade, CascadeScores
from models.errors import BundleError
from models.manifest import decode_json, encode_json

CASCADE = Cascade(
    max_loss=0.002,
    threshold=0.75,
    held_out=CascadeScores(rows=80, skipped_share=0.5, loss=0.0),
    out_of_fold=CascadeScores(rows=400, skipped_share=0.25, loss=-0.001),
)
NONE = Cascade(max_loss=0.002, threshold=None, reason="no row has a picture")


@pytest.mark.parametrize("cascade", [CASCADE, NONE])
def test_a_cascade_goes_through_the_metrics_of_a_version(cascade: Cascade) -> None:
    metrics = decode_json(encode_json({"cascade": cascade.model_dump()}, "metrics.json"), "metrics.json")
    assert Cascade.of_metrics(metrics) == cascade


def test_a_version_of_an_older_release_has_none() -> None:
    assert Cascade.of_metrics({"weighted_f1": 0.8}) is None


@pytest.mark.parametrize(
    "document",
    [
        "0.9",
        {},
        CASCADE.model_dump() | {"threshold": "0.9"},
        CASCADE.model_dump() | {"threshold": 1.5},
        CASCADE.model_dump() | {"held_out": {"rows": -1}},
    ],
)
def test_what_is_no_cascade_is_a_fault_of_the_version(document: object) -> None:
    with pytest.raises(BundleError, match=r"metrics\.json describes no cascade: cascade"):
        Cascade.of_metrics({"cascade": document})


def test_certain_is_a_text_from_the_threshold_on_and_never_one_without_scores() -> None:
    probabilities_BC = np.array([[0.75, 0.25], [0.74, 0.26], [0.2, 0.8], [np.nan, 1.0]], np.float32)
    assert CASCADE.is_certain(probabilities_BC).tolist() == [True, False, True, False]
    assert not NONE.is_certain(probabilities_BC).any()
    assert CASCADE.is_certain(np.zeros((0, 2), np.float32)).tolist() == []
