import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ModelError
from models.labels import Label, LabelSet, parse_code

codes = st.one_of(st.integers(-(10**17), 10**17), st.text(min_size=1, max_size=10).map(parse_code))
names = st.dictionaries(st.sampled_from(["fr", "en", "de"]), st.text(max_size=20))
label_sets = st.lists(st.builds(Label, codes, names), min_size=1, unique_by=lambda label: label.code).map(
    LabelSet
)


@given(label_sets)
def test_a_label_set_survives_json(labels: LabelSet) -> None:
    assert LabelSet.from_json(json.loads(json.dumps(labels.to_json()))) == labels


@given(label_sets)
def test_every_code_has_its_own_column_as_number_and_as_text(labels: LabelSet) -> None:
    for column, code in enumerate(labels.codes):
        assert labels.index(code) == column
        assert labels.index(str(code)) == column
        assert code in labels
    assert labels.indices(labels.codes).tolist() == list(range(len(labels)))


@pytest.mark.parametrize(
    ("text", "code"),
    [("2583", 2583), ("0", 0), ("-4", -4), ("02583", "02583"), ("2583.0", "2583.0"), ("²", "²"), ("", "")],
)
def test_only_text_that_is_exactly_a_number_becomes_one(text: str, code: int | str) -> None:
    assert parse_code(text) == code
    assert type(parse_code(text)) is type(code)


def test_codes_of_a_catalogue_come_once_numbers_first_in_rising_order() -> None:
    labels = LabelSet.from_codes(["40", "10", "books", 40, "9"], {"10": {"fr": "Livres", "en": "Books"}})
    assert labels.codes == (9, 10, 40, "books")
    assert labels.label(1).name("en") == "Books"


def test_a_name_falls_back_to_another_language_then_to_the_code() -> None:
    assert Label(10, {"fr": "Livres"}).name("en") == "Livres"
    assert Label(10).name("en") == "10"


def test_an_unknown_code_is_named_with_some_of_those_that_are_known() -> None:
    with pytest.raises(ModelError, match=r"'7'.* 2 \(10, 40"):
        LabelSet.from_codes([10, 40]).index(7)
    assert LabelSet.from_codes([10, 40]).indices([7, "40"]).tolist() == [-1, 1]


@pytest.mark.parametrize("labels", [[], [Label(1), Label(2), Label("1")]])
def test_a_set_without_labels_or_with_a_code_twice_is_refused(labels: list[Label]) -> None:
    with pytest.raises(ModelError, match=r"at least one|twice"):
        LabelSet(labels)


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        "codes",
        [],
        [1],
        [{"code": 1}],
        [{"code": True, "names": {}}],
        [{"code": 1.5, "names": {}}],
        [{"code": 1, "names": {"fr": 3}}],
    ],
)
def test_a_document_of_another_shape_is_refused(document: object) -> None:
    with pytest.raises(ModelError):
        LabelSet.from_json(document)
