"""Runs as Hydra starts them: one, or one for each combination of values, each in a folder of its own."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from training.run import train
from training.version import TrainedVersion

__all__ = ["launch"]


def launch(overrides: Sequence[str], *, multirun: bool = False) -> list[TrainedVersion]:
    """Train with the configuration in `training/conf`.

    Args:
        overrides: in Hydra's language, such as `text.epochs=6`; with multirun also `text.epochs=4,6`.
        multirun: train once for each combination of the values.

    Returns:
        The versions, in the order they were trained; a sweeper that looks for the best combination is told
        their weighted F1.

    Raises:
        HydraException, OmegaConfBaseException: an override does not fit.
        schemas.errors.ShelverError: as `training.run.train`.
    """
    trained: list[TrainedVersion] = []
    arguments = sys.argv

    def task(cfg: DictConfig) -> float:
        # Lightning starts the other processes of a distributed run with these.
        sys.argv = arguments
        cfg.overrides = list(HydraConfig.get().overrides.task)
        version = train(cfg)
        if version is None:
            return 0.0
        trained.append(version)
        return version.evaluation.weighted_f1

    main = hydra.main(config_path="pkg://training.conf", config_name="train", version_base="1.3")(task)
    with _called_with([arguments[0], *(["--multirun"] if multirun else []), *overrides]):
        main()
    return trained


@contextmanager
def _called_with(arguments: list[str]) -> Iterator[None]:
    """Hydra reads the arguments of the process, and prints errors itself unless told to raise them."""
    before, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = arguments, "1"
    try:
        yield
    finally:
        sys.argv = before
        del os.environ["HYDRA_FULL_ERROR"]
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
