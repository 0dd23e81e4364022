"""Lightning's side of a fit: loss, metrics and optimizer around a network that is ready made."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassF1Score

from models.labels import LabelSet
from training.data import StageBatch

__all__ = ["ClassifierModule", "OptimizerFactory"]

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]

_SEEDS_OF_ONE_FIT: Final = 1_000_003
"""More than a fit has epochs, so that no two ranks draw the same numbers."""


class ClassifierModule(LightningModule):
    """Fits a network whose forward turns a batch's inputs into logits, float32 (B, C).

    Logs `train/loss`, `val/loss`, `val/f1_weighted` and `val/f1_macro`; `confusion` holds the counts of the
    last validation. Only numbers are kept as hyperparameters, so its checkpoints load with
    `weights_only=True`. Each epoch draws its random numbers (dropout, augmentation) from a seed of its own: a
    fit that goes on after an interrupt ends as one that was never interrupted.
    """

    def __init__(
        self,
        network: nn.Module,
        labels: LabelSet,
        optimizer: OptimizerFactory,
        *,
        label_smoothing: float = 0.0,
        final_rate_share: float = 0.05,
        seed: int = 1,
    ) -> None:
        """Take a network that is ready made.

        Args:
            network: its parameters that require gradients are learnt.
            labels: the categories, in the order of its logits.
            optimizer: makes the optimizer of these parameters.
            label_smoothing: share of each row's target that is spread over all categories.
            final_rate_share: what is left of the learning rate at the last step; it falls in a straight line.
            seed: of the random numbers of every epoch.
        """
        super().__init__()
        self.save_hyperparameters(
            {
                "num_categories": len(labels),
                "label_smoothing": label_smoothing,
                "final_rate_share": final_rate_share,
                "seed": seed,
            }
        )
        self.network = network
        self.labels = labels
        self._optimizer = optimizer
        self._label_smoothing = label_smoothing
        self._final_rate_share = final_rate_share
        self._seed = seed
        self.val_f1_weighted = MulticlassF1Score(len(labels), average="weighted", ignore_index=-1)
        self.val_f1_macro = MulticlassF1Score(len(labels), average="macro", ignore_index=-1)
        self.confusion = MulticlassConfusionMatrix(len(labels), ignore_index=-1)

    def forward(self, inputs: Any) -> Tensor:
        """Logits, float32 (B, C)."""
        logits_BC: Tensor = self.network(inputs)
        return logits_BC.float()

    def on_train_epoch_start(self) -> None:
        """Draw the epoch's random numbers from its own seed."""
        torch.manual_seed(self._seed + self.current_epoch + _SEEDS_OF_ONE_FIT * self.global_rank)

    def training_step(self, batch: StageBatch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The weighted loss of a batch."""
        loss, _ = self._step(batch, "train")
        return loss

    def on_validation_epoch_start(self) -> None:
        """Count anew: the counts of the last epoch were left for the callbacks."""
        self.confusion.reset()

    def validation_step(self, batch: StageBatch, batch_idx: int) -> None:  # noqa: ARG002 - as above
        """Count a batch of validation rows."""
        _, logits_BC = self._step(batch, "val")
        scores = {"val/f1_weighted": self.val_f1_weighted, "val/f1_macro": self.val_f1_macro}
        for metric in (*scores.values(), self.confusion):
            metric.update(logits_BC, batch.truth_B)
        self.log_dict(scores, on_step=False, on_epoch=True, batch_size=len(batch.truth_B))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over what is to be learnt, its rate falling in a straight line."""
        optimizer = self._optimizer([p for p in self.network.parameters() if p.requires_grad])
        num_steps = max(1, int(self.trainer.estimated_stepping_batches))
        final = self._final_rate_share
        falling = LambdaLR(optimizer, lambda step: 1 - (1 - final) * min(1, step / num_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}

    def _step(self, batch: StageBatch, stage: str) -> tuple[Tensor, Tensor]:
        logits_BC = self(batch.inputs)
        loss_B = functional.cross_entropy(
            logits_BC,
            batch.truth_B,
            reduction="none",
            ignore_index=-1,
            label_smoothing=self._label_smoothing,
        )
        weight_B = batch.weight_B * (batch.truth_B >= 0)
        loss = (loss_B * weight_B).sum() / weight_B.sum().clamp_min(torch.finfo(torch.float32).tiny)
        self.log(
            f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.truth_B), sync_dist=True
        )
        return loss, logits_BC
