"""Lightning's side of a stage: loss, metrics and optimizer around a network that is ready made."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.classification import MulticlassF1Score

from training.data import StageBatch

__all__ = ["ClassifierModule", "OptimizerFactory"]

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class ClassifierModule(LightningModule):
    """Fits a network whose forward turns a batch's inputs into logits, float32 (B, C).

    Logs `train/loss`, `val/loss` and `val/f1_weighted`. The learning rate falls linearly to
    `final_rate_share` of its start over the steps of the fit. Only numbers are kept as hyperparameters, so
    its checkpoints load with `weights_only=True`.
    """

    def __init__(
        self,
        network: nn.Module,
        num_categories: int,
        optimizer: OptimizerFactory,
        *,
        label_smoothing: float = 0.0,
        final_rate_share: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters("num_categories", "label_smoothing", "final_rate_share")
        self.network = network
        self._optimizer = optimizer
        self._label_smoothing = label_smoothing
        self._final_rate_share = final_rate_share
        self.val_f1_weighted = MulticlassF1Score(num_categories, average="weighted", ignore_index=-1)

    def forward(self, inputs: Any) -> Tensor:
        """Logits, float32 (B, C)."""
        logits_BC: Tensor = self.network(inputs)
        return logits_BC.float()

    def training_step(self, batch: StageBatch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The weighted loss of a batch."""
        loss, _ = self._step(batch, "train")
        return loss

    def validation_step(self, batch: StageBatch, batch_idx: int) -> None:  # noqa: ARG002 - as above
        """Count a batch of validation rows."""
        _, logits_BC = self._step(batch, "val")
        self.val_f1_weighted.update(logits_BC, batch.truth_B)
        self.log("val/f1_weighted", self.val_f1_weighted, on_epoch=True, batch_size=len(batch.truth_B))

    def test_step(self, batch: StageBatch, batch_idx: int) -> None:  # noqa: ARG002 - as above
        """Count a batch of test rows."""
        self._step(batch, "test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over what is to be learnt, its rate falling in a straight line."""
        optimizer = self._optimizer([p for p in self.network.parameters() if p.requires_grad])
        num_steps = max(1, int(self.trainer.estimated_stepping_batches))
        falling = LambdaLR(
            optimizer, lambda step: 1 - (1 - self._final_rate_share) * min(1, step / num_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}

    def _step(self, batch: StageBatch, stage: str) -> tuple[Tensor, Tensor]:
        logits_BC = self(batch.inputs)
        loss_B = functional.cross_entropy(
            logits_BC, batch.truth_B, reduction="none", ignore_index=-1, label_smoothing=self._label_smoothing
        )
        weight_B = batch.weight_B * (batch.truth_B >= 0)
        loss = (loss_B * weight_B).sum() / weight_B.sum().clamp_min(torch.finfo(torch.float32).tiny)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.truth_B))
        return loss, logits_BC
