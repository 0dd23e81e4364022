"""A version ready to score products on one device: the only place where device and threads are decided."""

import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import cycle, islice
from pathlib import Path
from typing import Self

import numpy as np
import torch

from models.bundle import GOLDEN_TOLERANCE, Bundle, read_bundle
from models.errors import BundleError, DeviceError
from models.inputs import PreparedBatch, Product, Scores
from models.kinds import KINDS, Kinds
from models.preprocessing import Preprocessor

__all__ = ["Classifier", "resolve_device"]


def resolve_device(device: str) -> torch.device:
    """The device of a setting: `auto` (a GPU when there is one), `cpu`, `cuda` or `cuda:<n>`.

    Raises:
        DeviceError: the text names no such device, or this machine does not have it.
    """
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda:0" if num_gpus else "cpu")
    kind, _, number = device.partition(":")
    if device == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (":" in device and not number.isdecimal()):
        raise DeviceError(f"device {device[:40]!r} is unknown, use auto, cpu, cuda or cuda:<number>")
    index = int(number or 0)
    if index >= num_gpus:
        raise DeviceError(
            f"device {device!r} is not there, this machine has {num_gpus} usable GPUs; use auto"
        )
    return torch.device("cuda", index)


class Classifier:
    """One version on one device: products in, scores out.

    `prepare` may be called from any thread; `score` from one thread at a time, or several when they accept
    that torch's own threads are shared. What a product scores does not depend on the batch it is in: to 1e-5
    in probability on the CPU, to 1e-4 on a GPU, whose algorithms change with the size of the batch.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: torch.device,
        *,
        num_threads: int | None = None,
    ) -> None:
        """Put a version that was read on a device; the bundle's network is moved there.

        Args:
            bundle: the version.
            device: where to score.
            num_threads: how many threads torch computes with on the CPU, 1 or more; None leaves it to torch.
        """
        self.name = bundle.manifest.name
        self.version = bundle.manifest.version
        self.labels = bundle.labels
        self.device = device
        if device.type == "cuda":
            # TF32, which cuDNN takes for convolutions unless told otherwise, moves logits by tenths.
            torch.backends.cudnn.allow_tf32 = False
        self.network = bundle.network.to(device)
        self._golden = bundle.golden
        self._preprocessor = Preprocessor(bundle.network.text, bundle.network.image)
        self._num_threads = num_threads
        self._threads_set = threading.local()

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str | torch.device = "cpu",
        *,
        num_threads: int | None = None,
        kinds: Kinds = KINDS,
    ) -> Self:
        """Read, check and place the version in a folder.

        Args:
            folder: as `ModelRepository.resolve` names it.
            device: a torch device, or text for `resolve_device`.
            num_threads: as for the class.
            kinds: the encoders that the version may ask for.

        Raises:
            BundleError: the version is damaged or not one this release can read.
            DeviceError: there is no such device.
        """
        resolved = resolve_device(device) if isinstance(device, str) else device
        return cls(read_bundle(folder, kinds=kinds), resolved, num_threads=num_threads)

    def prepare(self, products: Sequence[Product], executor: Executor | None = None) -> PreparedBatch:
        """Everything before the device: clean and featurise texts, decode pictures.

        Args:
            products: B products; an unusable picture costs only itself.
            executor: threads to decode the pictures in; without one they are decoded one after the other.
        """
        return self._preprocessor.prepare(products, executor)

    @torch.inference_mode()
    def score(self, prepared: PreparedBatch) -> Scores:
        """Logits and probabilities, float32 (B, C), of B prepared products, B = 0 included.

        Rows that are not finite are there as well: look at `Scores.finite_B`.
        """
        self._set_threads()
        logits_BC = self.network(prepared.to_tensors(self.device))
        both_2BC = torch.stack((logits_BC, torch.softmax(logits_BC, dim=1))).cpu().numpy()
        return Scores(logits_BC=both_2BC[0], probabilities_BC=both_2BC[1])

    def warm_up(self, max_batch: int) -> None:
        """Score batches of 1 and of `max_batch` so that the first real ones find everything allocated.

        The golden products stand in for real ones, over and over.
        """
        prepared = self.prepare(self._golden.products)
        rows = np.fromiter(islice(cycle(range(prepared.num_products)), max_batch), np.int64)
        for size in sorted({1, max_batch}):
            self.score(prepared.select(rows[:size]))

    def check_golden(self, tolerance: float = GOLDEN_TOLERANCE) -> float:
        """Score the golden products as they would be served, here and now.

        Returns:
            The largest difference from the logits they had when the version was written.

        Raises:
            BundleError: a score is not finite, or differs by more than `tolerance`.
        """
        logits_BC = self.score(self.prepare(self._golden.products)).logits_BC
        try:
            return self._golden.check(self.labels.codes, logits_BC, tolerance)
        except BundleError as error:
            raise BundleError(f"{self.name}@{self.version} on {self.device}: {error}") from error

    def _set_threads(self) -> None:
        # OpenMP counts threads for each thread that computes: set in one, it means nothing in the next.
        if self._num_threads is not None and not getattr(self._threads_set, "done", False):
            torch.set_num_threads(self._num_threads)
            self._threads_set.done = True
