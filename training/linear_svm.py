"""A linear support vector machine on the n-grams of texts, as the table of an n-gram bag.

One classifier for each category against the rest with squared hinge loss, solved by liblinear (Fan et al.
2008, "LIBLINEAR: A Library for Large Linear Classification"). Letters: N rows, V n-grams, C categories.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC

from models.inputs import TextFeatures
from models.text.ngram_bag import NgramBag
from training.stages import StageRows

__all__ = ["fit_linear_svm"]

_ABSENT_MARGIN = -1.0
"""What the classifier of a category says of every text that is not of it."""


def fit_linear_svm(
    bag: NgramBag,
    text: TextFeatures,
    rows: StageRows,
    learn_from: NDArray[np.int64],
    *,
    strength: float,
    seed: int,
) -> None:
    """Fill a folded bag with the margins of support vector machines; categories count alike.

    Args:
        bag: folded; its table and bias are replaced.
        text: features of the N rows.
        rows: the N rows.
        learn_from: the rows to learn from, of two categories at least.
        strength: C of the machine: how much errors cost against large weights.
        seed: of the order in which liblinear takes the rows.
    """
    chosen = text.select(learn_from)
    features_NV = csr_matrix(
        (chosen.weights_T, chosen.ids_T, chosen.offsets_B1), shape=(len(learn_from), len(bag.table))
    )
    machine = LinearSVC(C=strength, class_weight="balanced", random_state=seed)
    machine.fit(features_NV, rows.truth_N[learn_from], sample_weight=rows.weight_N[learn_from])
    weight_CV, bias_C = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:  # scikit-learn keeps one classifier, for the second category
        weight_CV, bias_C = np.concatenate([-weight_CV, weight_CV]), np.concatenate([-bias_C, bias_C])
    with torch.no_grad():
        bag.table.zero_()
        bag.bias_C.fill_(_ABSENT_MARGIN)
        columns = torch.from_numpy(machine.classes_)
        bag.table[:, columns] = torch.from_numpy(weight_CV.T).to(bag.table.dtype)
        bag.bias_C[columns] = torch.from_numpy(bias_C).to(bag.bias_C.dtype)
