"""Bags and a support vector machine in one table say together what they say apart."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from models.errors import ModelError
from models.text.ngram_bag import NgramBag, fit_vocabulary
from tests.unit.training.networks import LABELS, fitter
from training.fitting import FitSettings
from training.linear_svm import fit_linear_svm
from training.ngram_stage import NgramStage, SvmSettings
from training.stages import Fit, StageRows
from training.text_stage import featurize, text_evidence

WORDS = (("robot", "piscine"), ("livre", "roman"), ("lampe", "bureau"))
NUM_ROWS = 60
TRUTH = np.arange(NUM_ROWS) % 3


def texts() -> list[tuple[str, str]]:
    random = np.random.default_rng(1)
    return [
        (f"{random.choice(WORDS[category])} modele {number % 7}", str(random.choice(WORDS[category])))
        for number, category in enumerate(TRUTH.tolist())
    ]


def stage_rows(weight_N: np.ndarray | None = None) -> StageRows:
    weights = np.ones(NUM_ROWS, np.float32) if weight_N is None else weight_N
    return StageRows(TRUTH, weights, len(LABELS), tuple(title for title, _ in texts()))


def bag(embedding_dim: int | None = 8) -> NgramBag:
    vocabulary = fit_vocabulary(texts(), min_texts_of_word_ngram=1, min_texts_of_char_ngram=1)
    return NgramBag(vocabulary, len(LABELS), embedding_dim=embedding_dim)


def stage(num_bags: int = 1, svm_weight: float = 8.0) -> NgramStage:
    return NgramStage(
        fitter(None),
        stage_rows(),
        texts(),
        bag,
        FitSettings(epochs=10, batch_size=8, learning_rate=0.05),
        num_bags=num_bags,
        svm=SvmSettings(svm_weight, 0.5),
    )


LEARN_FROM, HELD_OUT = np.arange(NUM_ROWS - 9), np.arange(NUM_ROWS - 9, NUM_ROWS)
FIT = Fit("text", LEARN_FROM, HELD_OUT)


@pytest.mark.parametrize(("num_bags", "svm_weight"), [(1, 0.0), (2, 0.0), (1, 8.0), (0, 8.0)])
def test_what_is_fitted_is_one_folded_table_that_has_learnt(num_bags: int, svm_weight: float) -> None:
    each = stage(num_bags, svm_weight)
    encoder = each.fit(FIT)
    assert encoder.embedding_dim is None
    assert each.stored(encoder) is encoder
    evidence_RC = each.evidence(encoder, HELD_OUT)
    assert (evidence_RC.argmax(dim=1).numpy() == TRUTH[HELD_OUT]).all()


def test_the_table_is_the_weighted_sum_of_its_parts() -> None:
    whole, alone = stage(1, 8.0).fit(FIT), stage(1, 0.0).fit(FIT)
    machine = bag(None)
    text = featurize(machine, texts())
    fit_linear_svm(machine, text, stage_rows(), LEARN_FROM, strength=0.5, seed=1)
    torch.testing.assert_close(whole.table, alone.table + 8 * machine.table, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole.bias_C, alone.bias_C + 8 * machine.bias_C, rtol=1e-4, atol=1e-4)


def test_two_bags_differ_and_their_mean_lies_between() -> None:
    both, first = stage(2, 0.0).fit(FIT), stage(1, 0.0).fit(FIT)
    assert not torch.allclose(both.table, first.table, atol=1e-3)
    again = stage(2, 0.0).fit(FIT)
    torch.testing.assert_close(both.table, again.table, rtol=0, atol=1e-5)


def test_the_machine_has_the_margins_of_scikit_learn() -> None:
    machine = bag(None)
    text = featurize(machine, texts())
    weight_N = np.where(np.arange(NUM_ROWS) % 2, 0.5, 1.0).astype(np.float32)
    fit_linear_svm(machine, text, stage_rows(weight_N), LEARN_FROM, strength=0.5, seed=1)
    dense = np.zeros((NUM_ROWS, len(machine.table)))
    for row in range(NUM_ROWS):
        span = slice(text.offsets_B1[row], text.offsets_B1[row + 1])
        dense[row, text.ids_T[span]] = text.weights_T[span]
    oracle = LinearSVC(C=0.5, class_weight="balanced", random_state=1)
    oracle.fit(dense[LEARN_FROM], TRUTH[LEARN_FROM], sample_weight=weight_N[LEARN_FROM])
    np.testing.assert_allclose(
        text_evidence(machine, text, HELD_OUT), oracle.decision_function(dense[HELD_OUT]), atol=1e-2
    )


def test_a_category_that_is_not_learnt_from_keeps_its_place() -> None:
    machine = bag(None)
    text = featurize(machine, texts())
    without_the_second = LEARN_FROM[TRUTH[LEARN_FROM] != 1]
    fit_linear_svm(machine, text, stage_rows(), without_the_second, strength=0.5, seed=1)
    evidence_RC = text_evidence(machine, text, HELD_OUT)
    known = TRUTH[HELD_OUT] != 1
    assert (evidence_RC.argmax(dim=1).numpy()[known] == TRUTH[HELD_OUT][known]).all()
    assert torch.all(evidence_RC[:, 1] == -1)


def test_without_bags_and_machine_there_is_nothing_to_learn() -> None:
    with pytest.raises(ModelError, match="nothing to learn"):
        stage(0, 0.0)
