"""A card says how good a version is and where it is not, whatever its categories are called."""

import numpy as np

from models.cascade import Cascade, CascadeScores
from models.evaluation import evaluate
from models.labels import Label, LabelSet
from models.model_card import CardFacts, model_card

LABELS = LabelSet([Label(10, {"fr": "Livres | <script>"}), Label(20, {"fr": "Jeux\n# Titre"}), Label("rare")])


def facts(**changes: object) -> CardFacts:
    probabilities_BC = np.eye(3, dtype=np.float32)[[0, 0, 1, 1]]
    evaluation = evaluate(
        probabilities_BC,
        np.array([0, 1, 1, 1]),
        LABELS,
        text_present_B=np.ones(4, np.bool_),
        image_present_B=np.zeros(4, np.bool_),
    )
    known: dict[str, object] = {
        "name": "fusion",
        "labels": LABELS,
        "text": "ngram_bag (num_ngrams 5)",
        "image": None,
        "evaluation": evaluation,
        "ece_before": 0.25,
        "alone": {"text": 0.75, "picture": None},
        "out_of_fold": {"rows": 7, "fusion": 0.8, "text_alone": 0.7, "image_alone": 0.4},
        "cascade": Cascade(
            max_loss=0.002,
            threshold=0.91234,
            held_out=CascadeScores(rows=4, skipped_share=0.5, loss=0.001),
            out_of_fold=CascadeScores(rows=7, skipped_share=0.4286, loss=-0.0015),
        ),
        "data": {"sha256": "abc", "rows": 9},
        "training_rows": {"10": 100, "20": 200, "rare": 3},
        "overrides": ["data.root=rakuten", "seed=1"],
        "seed": 1,
        "libraries": {"torch": "2.8"},
    }
    return CardFacts(**(known | changes))  # type: ignore[arg-type]


def test_a_card_has_the_scores_the_data_and_the_way_to_make_it_again() -> None:
    card = model_card(facts())
    evaluation = facts().evaluation
    for line in (
        f"| weighted F1 | {evaluation.weighted_f1:.4f} |",
        f"| accuracy | {evaluation.accuracy:.4f} |",
        "| accuracy of the surest 50% |",
        "| calibration error before the fusion was fitted | 0.2500 |",
        f"| calibration error | {evaluation.ece:.4f} |",
        "| weighted F1 by text alone | 0.7500 |",
        "| text | 4 |",
        "On the 7 training rows with both modalities",
        "Cascade, for a loss of at most 0.002: a text is certain from 0.9123 on, which skips pictures of "
        "50% of 4 rows held out for 0.0010 of weighted F1 and 43% of 7 rows out of fold for -0.0015 of "
        "weighted F1.",
        "| rows | 9 |",
        "`shelver train data.root=rakuten seed=1`, seed 1",
        "torch 2.8",
    ):
        assert line in card, line
    assert "by picture alone |" not in card


def test_a_card_names_what_it_does_not_know() -> None:
    card = model_card(facts())
    assert "Fewer than 30 rows were learnt from for rare." in card
    assert "No row held out is of rare" in card
    assert "It looks at no picture." in card
    assert "It reads no text." not in card


def test_names_of_categories_cannot_change_the_card() -> None:
    card = model_card(facts())
    assert "<script>" not in card
    assert r"Livres \| \<script\>" in card
    assert "\n# Titre" not in card


def test_the_weakest_categories_come_first() -> None:
    card = model_card(facts())
    assert card.index("| 10 |") < card.index("| 20 |")
