import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from models.evaluation import confusion_matrix, evaluate, reliability, softmax
from models.labels import LabelSet

LABELS = LabelSet.from_codes([10, 40, 50, 60, "books"], {"10": {"fr": "Livres"}})


def scored(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits_BC = random.normal(0, 2, (rows, len(LABELS))).astype(np.float32)
    return softmax(logits_BC), random.integers(0, len(LABELS), rows)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_scores_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    probabilities_BC, truth_B = scored(seed, rows)
    predicted_B = probabilities_BC.argmax(axis=1)
    result = evaluate(probabilities_BC, truth_B, LABELS)
    assert result.rows == rows
    assert result.accuracy == pytest.approx(accuracy_score(truth_B, predicted_B))
    assert result.weighted_f1 == pytest.approx(f1_score(truth_B, predicted_B, average="weighted"))
    assert result.macro_f1 == pytest.approx(f1_score(truth_B, predicted_B, average="macro"))
    expected = precision_recall_fscore_support(
        truth_B, predicted_B, labels=range(len(LABELS)), zero_division=0
    )
    found = [(entry.precision, entry.recall, entry.f1, entry.support) for entry in result.per_class]
    np.testing.assert_allclose(np.array(found).T, expected)


def test_calibration_error_is_the_mean_gap_between_confidence_and_accuracy_of_15_bins() -> None:
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55], np.float32)
    probabilities_BC = np.zeros((6, len(LABELS)), np.float32)
    probabilities_BC[:, 0] = confidences
    probabilities_BC[:, 1] = 1 - confidences
    truth_B = np.array([0, 0, 0, 1, 0, 1])
    expected = (4 * abs(0.75 - 0.95) + 2 * abs(0.5 - 0.55)) / 6
    assert evaluate(probabilities_BC, truth_B, LABELS).ece == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_probabilities_that_mean_what_they_say_have_little_calibration_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities_BC = random.dirichlet(np.ones(len(LABELS)), 4000).astype(np.float32)
    truth_B = (probabilities_BC.cumsum(axis=1) > random.random((4000, 1))).argmax(axis=1)
    assert evaluate(probabilities_BC, truth_B, LABELS).ece < 0.04


def test_a_row_without_finite_scores_is_wrong_and_counted() -> None:
    probabilities_BC, truth_B = scored(1, 20)
    probabilities_BC[:] = np.eye(len(LABELS), dtype=np.float32)[truth_B]
    probabilities_BC[3] = np.nan
    result = evaluate(probabilities_BC, truth_B, LABELS)
    assert result.non_finite_rows == 1
    assert result.accuracy == pytest.approx(19 / 20)
    assert result.ece == pytest.approx(0)


def test_a_category_the_model_does_not_know_is_wrong_and_counted() -> None:
    truth_B = LABELS.indices([10, "10", 99, "books"])
    probabilities_BC = np.eye(len(LABELS), dtype=np.float32)[[0, 0, 1, 4]]
    result = evaluate(probabilities_BC, truth_B, LABELS)
    assert (result.rows, result.unknown_rows) == (4, 1)
    assert result.accuracy == pytest.approx(3 / 4)
    assert result.weighted_f1 == pytest.approx(3 / 4)


def test_scores_are_split_by_what_a_product_has() -> None:
    truth_B = np.array([0, 0, 1, 1])
    probabilities_BC = np.eye(len(LABELS), dtype=np.float32)[[0, 1, 1, 1]]
    result = evaluate(
        probabilities_BC,
        truth_B,
        LABELS,
        text_present_B=np.array([True, True, False, False]),
        image_present_B=np.array([True, False, True, False]),
    )
    assert {name: (part.rows, part.accuracy) for name, part in result.by_modality.items()} == {
        "text+image": (1, 1.0),
        "text": (1, 0.0),
        "image": (1, 1.0),
        "none": (1, 1.0),
    }


def test_the_result_is_plain_json_and_names_every_category() -> None:
    probabilities_BC, truth_B = scored(2, 30)
    document = json.loads(json.dumps(evaluate(probabilities_BC, truth_B, LABELS).to_json(), allow_nan=False))
    assert {
        "rows",
        "weighted_f1",
        "macro_f1",
        "accuracy",
        "ece",
        "by_modality",
        "per_class",
    } <= document.keys()
    assert [entry["code"] for entry in document["per_class"]] == [10, 40, 50, 60, "books"]
    assert document["per_class"][0]["label"] == "Livres"


def test_no_rows_give_zeros() -> None:
    result = evaluate(np.zeros((0, len(LABELS)), np.float32), np.zeros(0, np.int64), LABELS)
    assert (result.rows, result.weighted_f1, result.macro_f1, result.accuracy, result.ece) == (0, 0, 0, 0, 0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(3, 5\)"):
        evaluate(np.zeros((3, 4), np.float32), np.zeros(3, np.int64), LABELS)


def test_probabilities_of_huge_logits_stay_finite() -> None:
    logits_BC = np.array([[1e30, 0.0], [-1e30, 0.0]], np.float32)
    np.testing.assert_array_equal(softmax(logits_BC), [[1, 0], [0, 1]])


def test_the_surest_rows_are_measured_alone() -> None:
    probabilities_BC = np.full((10, len(LABELS)), 0.05, np.float32)
    probabilities_BC[:, 0] = np.linspace(0.4, 0.9, 10)
    truth_B = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0])
    scores = evaluate(probabilities_BC, truth_B, LABELS)
    assert scores.selective_accuracy == {"0.5": 4 / 5, "0.8": 5 / 8}


def test_of_equally_sure_rows_the_first_count_and_rows_without_scores_come_last() -> None:
    probabilities_BC = np.full((4, len(LABELS)), 0.2, np.float32)
    probabilities_BC[0] = np.nan
    scores = evaluate(probabilities_BC, np.array([0, 0, 0, 1]), LABELS)
    assert scores.selective_accuracy == {"0.5": 1.0, "0.8": 0.5}


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_the_confusion_matrix_counts_every_row_once(seed: int, rows: int) -> None:
    probabilities_BC, truth_B = scored(seed, rows)
    truth_B[::7] = -1
    counts_CC = confusion_matrix(probabilities_BC, truth_B)
    known = truth_B >= 0
    assert counts_CC.sum() == known.sum()
    assert counts_CC.sum(axis=1).tolist() == np.bincount(truth_B[known], minlength=len(LABELS)).tolist()
    assert np.trace(counts_CC) == (probabilities_BC.argmax(axis=1) == truth_B)[known].sum()


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_bins_of_reliability_hold_every_row(seed: int, rows: int) -> None:
    probabilities_BC, truth_B = scored(seed, rows)
    bins = reliability(probabilities_BC, truth_B)
    assert bins.rows_K.sum() == rows
    filled = bins.rows_K > 0
    edges = np.linspace(0, 1, len(bins.rows_K) + 1)
    assert np.all(bins.confidence_K[filled] <= edges[1:][filled] + 1e-6)
    assert np.all(bins.confidence_K[filled] >= edges[:-1][filled] - 1e-6)
    assert (bins.rows_K * bins.accuracy_K).sum() == pytest.approx(
        (probabilities_BC.argmax(axis=1) == truth_B).sum()
    )
