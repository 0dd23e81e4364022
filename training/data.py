"""What the Trainer of one stage is fed: rows by number, turned into inputs on the device when they are due.

Shape letters: N rows, B rows of a batch, C categories, D features; H, W pixels, K colour channels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from models.inputs import PreparedBatch, TensorBatch, TextFeatures

__all__ = [
    "FeatureInputs",
    "StageBatch",
    "StageData",
    "StageInputs",
    "TextInputs",
    "batches",
]


class StageInputs(Protocol):
    """N rows that can be handed to a network a few at a time."""

    def __len__(self) -> int: ...

    def take(self, rows_B: NDArray[np.int64], device: torch.device) -> TensorBatch | Tensor:
        """What the network's forward takes for these rows, on the device."""


@dataclass(frozen=True, slots=True, eq=False)
class TextInputs:
    """Texts featurised once, before the first epoch."""

    text: TextFeatures

    def __len__(self) -> int:
        return self.text.num_texts

    def take(self, rows_B: NDArray[np.int64], device: torch.device) -> TensorBatch:
        """The texts of these rows, without pictures."""
        return PreparedBatch.of_texts(self.text.select(rows_B)).to_tensors(device)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureInputs:
    """Features of N rows that were computed before, of any shape behind the first letter."""

    features_ND: Tensor

    def __len__(self) -> int:
        return len(self.features_ND)

    def take(self, rows_B: NDArray[np.int64], device: torch.device) -> Tensor:
        """The features of these rows."""
        return self.features_ND[torch.from_numpy(rows_B)].to(device)


@dataclass(frozen=True, slots=True, eq=False)
class StageBatch:
    """B rows on the device.

    Attributes:
        inputs: what the network's forward takes.
        truth_B: int64, column of each row's category; -1 for one that the model does not have.
        weight_B: float32, how much each row counts.
    """

    inputs: TensorBatch | Tensor
    truth_B: Tensor
    weight_B: Tensor


class _EpochOrder(Sampler[int]):
    """The numbers below `num_rows` in an order that the seed and the epoch alone decide."""

    def __init__(self, num_rows: int, seed: int, epoch: Callable[[], int]) -> None:
        self._num_rows = num_rows
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return self._num_rows

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch())
        return iter(torch.randperm(self._num_rows, generator=generator).tolist())


class StageData(LightningDataModule):
    """The rows of one fit; its batches are row numbers until they are moved to the device."""

    def __init__(
        self,
        inputs: StageInputs,
        truth_N: NDArray[np.int64],
        weight_N: NDArray[np.float32],
        *,
        train_rows: NDArray[np.int64],
        validation_rows: NDArray[np.int64],
        batch_size: int = 256,
        seed: int = 1,
        titles: Sequence[str] | None = None,
    ) -> None:
        """Take the rows; nothing is copied.

        Args:
            inputs: of all N rows.
            truth_N: column of each row's category; -1 for one that the model does not have.
            weight_N: how much each row counts in the loss.
            train_rows: which rows are learnt from, in a new order each epoch.
            validation_rows: which rows are scored after each epoch; may be empty.
            batch_size: rows a step.
            seed: of the order of the rows.
            titles: what people call the N rows, for the embedding projector.
        """
        super().__init__()
        self.inputs = inputs
        self.truth_N = torch.from_numpy(truth_N)
        self.titles = titles
        self.validation_rows = validation_rows
        self._weight_N = torch.from_numpy(weight_N)
        self._train_rows = train_rows
        self._batch_size = batch_size
        self._seed = seed

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Row numbers of training batches."""
        rows = torch.from_numpy(self._train_rows)
        # Batch normalisation cannot do with a single row; a last batch of one is left for the next epoch.
        alone = len(rows) % self._batch_size == 1 and len(rows) > self._batch_size
        return DataLoader(
            rows,  # type: ignore[arg-type]  # a tensor has the length and items that a Dataset needs
            batch_size=self._batch_size,
            sampler=_EpochOrder(len(rows), self._seed, self._current_epoch),
            drop_last=alone,
            # Its own, or the loader would take a number from the one that dropout draws from.
            generator=torch.Generator(),
        )

    def val_dataloader(self) -> DataLoader[Tensor] | list[Any]:
        """Row numbers of validation batches; no loader when there are none."""
        if not len(self.validation_rows):
            return []
        rows = torch.from_numpy(self.validation_rows)
        return DataLoader(rows, batch_size=self._batch_size, generator=torch.Generator())  # type: ignore[arg-type]

    def _current_epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch

    def transfer_batch_to_device(
        self,
        batch: Tensor,
        device: torch.device,
        dataloader_idx: int,  # noqa: ARG002 - Lightning's signature
    ) -> StageBatch:
        """Turn row numbers into a batch on the device."""
        rows_B = batch.numpy()
        return StageBatch(
            inputs=self.inputs.take(rows_B, device),
            truth_B=self.truth_N[batch].to(device),
            weight_B=self._weight_N[batch].to(device),
        )


def batches(rows: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """`rows` in order, `batch_size` at a time."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]
