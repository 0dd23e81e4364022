"""How well predicted categories agree with those of the rows."""

import pytest

from schemas.assignments import ModelReference
from schemas.catalogue_rows import CatalogueRow
from stream_app.console.answers import Categories, Category, ProductAnswer
from stream_app.console.predicting import Prediction
from stream_app.console.scoring import score
from tests.unit.stream_app.console.test_predicting import LIMITS, assigned

KNOWN = Categories(
    model=ModelReference(name="m", version="1"),
    categories=[Category(code=10, label="Livres"), Category(code=20, label="Lampes")],
)


def outcomes(*codes: int | None) -> list[ProductAnswer | None]:
    listing = next(iter(_prediction().next_chunk(LIMITS).values()))
    return [None if code is None else assigned(listing, code) for code in codes]


def _prediction() -> Prediction:
    return Prediction([CatalogueRow("p", "t", "")])


def rows(*categories: str | None) -> list[CatalogueRow]:
    return [CatalogueRow(f"p-{n}", "t", "", category=each) for n, each in enumerate(categories)]


def test_scores_are_those_of_the_rows_that_have_both() -> None:
    scores = score(rows("10", "10", "20", None, "20"), outcomes(10, 20, 20, 10, None), KNOWN)
    assert scores is not None
    assert scores.rows == 3
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.weighted_f1 == pytest.approx(2 / 3)
    assert set(scores.confusion) == {
        ("Livres", "Livres", 1),
        ("Livres", "Lampes", 1),
        ("Lampes", "Lampes", 1),
    }


def test_categories_that_the_model_does_not_know_count_as_wrong() -> None:
    scores = score(rows("10", "999"), outcomes(10, 10), KNOWN)
    assert scores is not None
    assert (scores.rows, scores.accuracy) == (2, 0.5)
    assert scores.confusion == (("Livres", "Livres", 1),)
    assert [each.code for each in scores.per_category] == [10]


def test_without_labels_or_answers_there_are_no_scores() -> None:
    assert score(rows(None), outcomes(10), KNOWN) is None
    assert score(rows("10"), outcomes(None), KNOWN) is None
