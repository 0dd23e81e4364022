"""What a fit shows beside its curves: a confusion matrix each epoch, and the projector of TensorBoard.

Shape letters: R validation rows, V tokens, D embedding, C categories.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from torch import Tensor

from models.evaluation_pictures import confusion_figure
from training.data import StageData, batches
from training.module import ClassifierModule

__all__ = ["ConfusionMatrixPicture", "EmbeddingProjector", "HasTokenEmbeddings"]


@runtime_checkable
class HasTokenEmbeddings(Protocol):
    """A network that has a vector for each token of a vocabulary that people can read."""

    def token_embeddings(self) -> tuple[Tensor, list[str]]:
        """Vectors (V, D) and the tokens."""


class ConfusionMatrixPicture(Callback):
    """Draws which categories are taken for which after every epoch that validates."""

    def __init__(self, every_n_epochs: int = 1) -> None:
        """Draw after each `every_n_epochs`-th epoch, and after the last."""
        self._every_n_epochs = every_n_epochs

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the counts of this validation."""
        if not isinstance(pl_module, ClassifierModule) or not self._is_due(trainer):
            return
        counts_CC = pl_module.confusion.compute().cpu().numpy()
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                figure = confusion_figure(counts_CC, pl_module.labels)
                logger.experiment.add_figure("val/confusion", figure, trainer.current_epoch)
            elif isinstance(logger, MLFlowLogger):
                figure = confusion_figure(counts_CC, pl_module.labels)
                path = f"confusion/epoch-{trainer.current_epoch:03d}.png"
                logger.experiment.log_figure(logger.run_id, figure, path)

    def _is_due(self, trainer: Trainer) -> bool:
        done = trainer.current_epoch + 1
        is_last = done == trainer.max_epochs
        return not trainer.sanity_checking and (is_last or done % self._every_n_epochs == 0)


class EmbeddingProjector(Callback):
    """Puts products, and tokens where the network has any, into TensorBoard's projector when a fit ends.

    A product is shown by its logits, with its category, the predicted one and its title.
    """

    def __init__(self, max_points: int = 5000) -> None:
        """Show up to `max_points` products, and as many tokens."""
        self._max_points = max_points

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the vectors and their metadata beside the curves."""
        writers = [each.experiment for each in trainer.loggers if isinstance(each, TensorBoardLogger)]
        if not writers or not trainer.is_global_zero or not isinstance(pl_module, ClassifierModule):
            return
        data: Any = getattr(trainer, "datamodule", None)
        for writer in writers:
            if isinstance(data, StageData) and len(data.validation_rows):
                vectors_RC, metadata = _products(pl_module, data, self._max_points)
                writer.add_embedding(
                    vectors_RC,
                    metadata=metadata,
                    metadata_header=["category", "predicted", "title"],
                    global_step=trainer.current_epoch,
                    tag="products",
                )
            if isinstance(pl_module.network, HasTokenEmbeddings):
                vectors_VD, tokens = pl_module.network.token_embeddings()
                shown = [_one_line(token) or "(space)" for token in tokens[: self._max_points]]
                writer.add_embedding(
                    vectors_VD[: self._max_points].detach().cpu(),
                    metadata=shown,
                    global_step=trainer.current_epoch,
                    tag="tokens",
                )


@torch.no_grad()
def _products(module: ClassifierModule, data: StageData, max_points: int) -> tuple[Tensor, list[list[str]]]:
    module.eval()
    rows = data.validation_rows[:max_points]
    parts = [module(data.inputs.take(part, module.device)).cpu() for part in batches(rows, 256)]
    logits_RC = torch.cat(parts)
    names = [f"{label.code} {label.name()}" for label in module.labels]
    metadata = [
        [
            names[truth] if truth >= 0 else "unknown",
            names[predicted],
            _one_line(data.titles[row])[:120] if data.titles is not None else str(row),
        ]
        for row, truth, predicted in zip(
            rows.tolist(), data.truth_N[rows].tolist(), logits_RC.argmax(dim=1).tolist(), strict=True
        )
    ]
    return logits_RC, metadata


def _one_line(text: str) -> str:
    """The text as a cell of the projector's table, which has a product a line and tabs between cells."""
    return " ".join(text.split())
