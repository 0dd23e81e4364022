"""Every choice of the Hydra configuration composes, and what does not exist is refused."""

from importlib.resources import files

import pytest
from hydra.errors import HydraException

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
    assert cfg.text.epochs > 0


def test_there_is_a_choice_for_every_part() -> None:
    groups = {choice.split("=")[0] for choice in CHOICES}
    assert groups == {"data", "text", "image", "fusion", "optimizer", "trainer", "experiment"}


@pytest.mark.parametrize("override", ["text=nothing", "text.epohcs=3", "nonsense"])
def test_an_override_that_fits_nothing_is_refused(override: str) -> None:
    with pytest.raises(HydraException):
        compose_config([override])
