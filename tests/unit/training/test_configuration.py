"""Every choice of the Hydra configuration composes, and what does not exist is refused."""

from importlib.resources import files
from pathlib import Path

import pytest
from hydra.errors import HydraException

from tests.unit.training.networks import SETTINGS, dropout_network, fitter, separable_rows
from training.run import compose_config

CHOICES = [
    f"{group.name}={option.name.removesuffix('.yaml')}"
    for group in files("training.conf").iterdir()
    if group.is_dir() and not group.name.startswith("__")
    for option in group.iterdir()
    if option.name.endswith(".yaml")
]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_composes(choice: str) -> None:
    cfg = compose_config(["data.root=somewhere", choice])
    assert cfg.data.root == "somewhere"
    assert cfg.seed == 1


def test_there_is_a_choice_for_every_part() -> None:
    groups = {choice.split("=")[0] for choice in CHOICES}
    assert groups == {
        "model",
        "data",
        "text",
        "image",
        "fusion",
        "optimizer",
        "trainer",
        "callbacks",
        "logger",
        "experiment",
    }


@pytest.mark.parametrize("choice", [each for each in CHOICES if each.startswith(("logger", "callbacks"))])
def test_a_choice_of_loggers_or_callbacks_is_built_and_writes_below_the_run(
    choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = fitter(tmp_path, choice)
    network = dropout_network()
    run.fit("text", network, separable_rows(), SETTINGS)
    assert run.loggers("run") or choice == "logger=none"
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("choice", [each for each in CHOICES if each.startswith("model")])
def test_a_model_chooses_its_encoders(choice: str) -> None:
    cfg = compose_config(["data.root=somewhere", choice])
    chosen = {
        "fusion": ("ngram_bag", "torchvision"),
        "text": ("ngram_bag", "none"),
        "image": ("none", "torchvision"),
        "original": ("embedding_bag", "torchvision"),
    }
    assert (cfg.text.kind, cfg.image.kind) == chosen[choice.split("=")[1]]


def test_a_choice_of_the_user_counts_more_than_the_models() -> None:
    cfg = compose_config(["data.root=somewhere", "model=original", "image=resnet18"])
    assert (cfg.text.kind, cfg.image.architecture) == ("embedding_bag", "resnet18")


@pytest.mark.parametrize("override", ["text=nothing", "text.epohcs=3", "nonsense"])
def test_an_override_that_fits_nothing_is_refused(override: str) -> None:
    with pytest.raises(HydraException):
        compose_config([override])
