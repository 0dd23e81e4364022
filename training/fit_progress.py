"""Progress bars on standard error, one for each fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class FitProgress(Callback):
    """Moves one bar on by one for each training step."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Learn how many steps there will be."""
        self._progress.update(self._task, total=int(trainer.estimated_stepping_batches))

    def on_train_batch_end(self, *_: Any) -> None:
        """Count a step."""
        self._progress.advance(self._task)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars on standard error, so that standard output stays clean."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress
