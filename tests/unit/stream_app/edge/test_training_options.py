"""What a client may say of a training run becomes overrides that mean just that."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stream_app.edge.training_options import StartTraining, TrainingOptions, overrides_of, quoted, settings_of
from stream_app.errors import SettingsError
from training.run import compose_config

NAMES = [field.alias for field in TrainingOptions.model_fields.values()]


def start(**settings: object) -> StartTraining:
    return StartTraining.model_validate({"catalogue": "shop", "settings": settings})


def test_every_setting_is_one_of_the_configuration_and_arrives_there(tmp_path: Path) -> None:
    wanted = {
        "model": "fusion",
        "text": "embedding_bag",
        "image": "frozen",
        "name": "mine",
        "seed": 7,
        "promote": "never",
        "data.limit": 100,
        "text.epochs": 2,
        "text.batch_size": 16,
        "text.learning_rate": 0.01,
        "image.epochs": 3,
        "image.batch_size": 8,
        "image.learning_rate": 1e-05,
    }
    assert {*wanted, "experiment"} == set(NAMES)
    options = start(**wanted).settings
    assert settings_of(options) == wanted
    folder = tmp_path / "a b, c=d"
    cfg = compose_config([*overrides_of(options), *quoted("data.root", str(folder))])
    assert (cfg.name, cfg.seed, cfg.promote, cfg.data.limit) == ("mine", 7, "never", 100)
    assert (cfg.text.kind, cfg.text.epochs, cfg.text.learning_rate) == ("embedding_bag", 2, 0.01)
    assert (cfg.image.epochs, cfg.image.batch_size, cfg.image.learning_rate) == (3, 8, 1e-05)
    assert cfg.data.root == str(folder)


def test_an_experiment_can_be_chosen() -> None:
    assert compose_config(overrides_of(start(experiment="demo").settings)).name == "demo"
    assert overrides_of(start().settings) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"data.root": "/etc"},
        {"hydra.run.dir": "/etc"},
        {"+text.epochs": 1},
        {"~logger": None},
        {"text": "transformer"},
        {"text": "ngram_bag,embedding_bag"},
        {"name": "a b"},
        {"name": "${oc.env:HOME}"},
        {"name": "../up"},
        {"text.epochs": 0},
        {"text.epochs": "1,2"},
        {"seed": -1},
        {"text.learning_rate": "1e-3 repository=/tmp"},
    ],
)
def test_anything_else_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        start(**settings)


@given(st.text(min_size=1, max_size=30), st.text(max_size=30) | st.integers() | st.floats(allow_nan=False))
def test_no_text_gets_into_an_override_but_names_and_numbers(name: str, value: object) -> None:
    for key in (name, "name", "text.learning_rate"):
        try:
            overrides = overrides_of(start(**{key: value}).settings)
        except ValidationError:
            continue
        for override in overrides:
            left, _, right = override.partition("=")
            assert left in NAMES
            assert all(sign.isascii() and (sign.isalnum() or sign in "._-+") for sign in right)


@pytest.mark.parametrize("value", ["it's", 'say "so"', "a\\b", "${oc.env:HOME}", "a\nb"])
def test_a_path_that_hydra_would_read_otherwise_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="cannot be told"):
        quoted("data.root", value)
