"""A network and rows that are learnt in milliseconds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from models.labels import LabelSet
from training.data import FeatureInputs, StageData
from training.fitting import FitSettings, Fitter
from training.run import compose_config

NUM_ROWS, NUM_FEATURES = 60, 8
LABELS = LabelSet.from_codes([10, 20, 30])
SETTINGS = FitSettings(epochs=4, batch_size=16, learning_rate=0.1)


def dropout_network() -> nn.Module:
    """A network whose fit depends on random numbers at every step."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(NUM_FEATURES, len(LABELS)))


def separable_rows(batch_size: int = 16) -> StageData:
    generator = torch.Generator().manual_seed(2)
    truth_N = np.arange(NUM_ROWS) % len(LABELS)
    features_ND = torch.randn(NUM_ROWS, NUM_FEATURES, generator=generator)
    features_ND[:, :3] += 3 * nn.functional.one_hot(torch.from_numpy(truth_N), 3)
    return StageData(
        FeatureInputs(features_ND),
        truth_N,
        np.ones(NUM_ROWS, np.float32),
        train_rows=np.arange(45),
        validation_rows=np.arange(45, NUM_ROWS),
        batch_size=batch_size,
        seed=1,
        titles=[f"product\t{row}" for row in range(NUM_ROWS)],
    )


def fitter(folder: Path | None, *overrides: str) -> Fitter:
    cfg: DictConfig = compose_config(["data.root=-", f"run_dir={folder or 'null'}", *overrides])
    return Fitter(cfg, LABELS, Progress(console=Console(quiet=True)), folder)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    theirs: dict[str, Any] = weights(second)
    for name, value in weights(first).items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)
