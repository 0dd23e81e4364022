"""One fit by a Lightning Trainer: its loggers, callbacks and checkpoints, and how an interrupted run goes on.

A run is several fits, each with a name such as `text` or `text-fold-1`. A fit that ends leaves its weights in
`<run folder>/fits/<name>.safetensors`; a run that is started again in the same folder takes them from there
and goes on with the checkpoint of the fit that was interrupted.
"""

import logging
import shutil
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from rich.progress import Progress
from torch import nn
from torch.optim import Optimizer

from models.files import read_plain_file, replace_file
from models.labels import LabelSet
from models.weights import decode_weights, encode_weights
from training.data import StageData
from training.fit_progress import FitProgress
from training.module import ClassifierModule

__all__ = ["FitSettings", "Fitter"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How long and how fast one network learns.

    Attributes:
        epochs: passes over its rows, unless `trainer.max_epochs` says otherwise.
        batch_size: rows a step.
        learning_rate: at the first step.
        weight_decay: in place of the optimizer's own, unless None.
        label_smoothing: share of each row's target that is spread over all categories.
        final_rate_share: what is left of the learning rate at the last step.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    final_rate_share: float = 0.05

    @classmethod
    def of(cls, encoder: DictConfig) -> Self:
        """The settings in the configuration of an encoder, which may leave out those with a default."""
        names = [each.name for each in fields(cls) if each.name in encoder]
        return cls(**{name: encoder[name] for name in names})


class Fitter:
    """Fits networks in place, all of one run with the same trainer, optimizer, loggers and callbacks."""

    def __init__(
        self, cfg: DictConfig, labels: LabelSet, progress: Progress, folder: Path | None = None
    ) -> None:
        """Take the parts of a configuration that concern every fit.

        Args:
            cfg: of the run; its trainer, optimizer, logger, callbacks and seed are used.
            labels: the categories, in the order of every network's logits.
            progress: where a bar for each fit is shown.
            folder: of the run; without one nothing is logged or kept on disk.
        """
        self.seed: int = cfg.seed
        self.labels = labels
        self.progress = progress
        self._cfg = cfg
        self._folder = folder

    def fit(self, name: str, network: nn.Module, data: StageData, settings: FitSettings) -> None:
        """Fit a network whose forward turns a batch's inputs into logits (B, C); it ends on the CPU.

        Args:
            name: of the fit, unlike all others of the run: letters, digits and `-`.
            network: its parameters that require gradients are learnt.
            data: the rows.
            settings: how long and how fast.
        """
        if self._take_over(name, network):
            return
        module = ClassifierModule(
            network,
            self.labels,
            self._optimizer(settings),
            label_smoothing=settings.label_smoothing,
            final_rate_share=settings.final_rate_share,
            seed=self.seed,
        )
        trainer = self._trainer(name, settings)
        with _quiet(), _interruptible(trainer):
            trainer.fit(module, datamodule=data, ckpt_path=self._last_checkpoint(name), weights_only=True)
        best = _restore_best(trainer, module)
        network.cpu()
        self._keep(name, network, best)

    def loggers(self, name: str) -> list[Logger]:
        """The loggers of a fit, or of the whole run, under that name."""
        return [] if self._folder is None else _instantiate_each(self._named(name).logger)

    def _optimizer(self, settings: FitSettings) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
        decay = {} if settings.weight_decay is None else {"weight_decay": settings.weight_decay}
        optimizer: Callable[..., Optimizer] = instantiate(self._cfg.optimizer)
        return lambda parameters: optimizer(parameters, lr=settings.learning_rate, **decay)

    def _trainer(self, name: str, settings: FitSettings) -> Trainer:
        loggers = self.loggers(name)
        callbacks: list[Callback] = [FitProgress(self.progress, f"fit {name}")]
        if self._folder is not None:
            callbacks += _instantiate_each(self._named(name).callbacks)
        if not loggers:  # which is an error to Lightning
            callbacks = [each for each in callbacks if not isinstance(each, LearningRateMonitor)]
        trainer: Trainer = instantiate(self._cfg.trainer)(
            max_epochs=self._cfg.trainer.max_epochs or settings.epochs,
            logger=loggers,
            enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
            callbacks=callbacks,
        )
        return trainer

    def _named(self, name: str) -> Any:
        return OmegaConf.merge(self._cfg, {"fit_name": name})

    def _take_over(self, name: str, network: nn.Module) -> bool:
        """Load the weights that this fit ended with before the run was interrupted, if it had ended."""
        kept = self._kept(name)
        if kept is None or not kept.is_file():
            return False
        decode_weights(network, read_plain_file(kept))
        logger.info("fit %s was done before the run was interrupted", name)
        return True

    @rank_zero_only
    def _keep(self, name: str, network: nn.Module, best: Path | None) -> None:
        if self._folder is None or (kept := self._kept(name)) is None:
            return
        replace_file(kept, encode_weights(network))
        # What the fit could have gone on from is several times as large, and of no use now.
        self._checkpoint(self._folder, name).unlink(missing_ok=True)
        if best is None:
            shutil.rmtree(self._checkpoint(self._folder, name).parent, ignore_errors=True)

    def _kept(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / "fits" / f"{name}.safetensors"

    def _last_checkpoint(self, name: str) -> Path | None:
        last = None if self._folder is None else self._checkpoint(self._folder, name)
        return last if last is not None and last.is_file() else None

    @staticmethod
    def _checkpoint(folder: Path, name: str) -> Path:
        return folder / "checkpoints" / name / "last.ckpt"


def _instantiate_each(group: DictConfig | None) -> list[Any]:
    """The entries of a group that have a class; the others hold settings of their neighbours."""
    entries = [] if group is None else [entry for entry in group.values() if entry and "_target_" in entry]
    return [instantiate(entry) for entry in entries]


def _restore_best(trainer: Trainer, module: ClassifierModule) -> Path | None:
    """Take back the best epoch's weights where the checkpoint callback watches a score."""
    checkpoint = trainer.checkpoint_callback
    if not isinstance(checkpoint, ModelCheckpoint) or not checkpoint.monitor:
        return None
    best = torch.load(checkpoint.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    return Path(checkpoint.best_model_path)


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C stays a KeyboardInterrupt: Lightning ends the process, and ignores the signal from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice on loaders and loggers, which does not fit rows held in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
