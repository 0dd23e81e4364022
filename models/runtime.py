"""A version ready to score products on one device: the only place where device and threads are decided."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import cycle, islice
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from torch import Tensor

from models.acceleration import GraphedPictures, fold_batch_norms
from models.bundle import GOLDEN_TOLERANCE, Bundle, read_bundle
from models.cascade import Cascade
from models.errors import BundleError, DeviceError, refused_as
from models.evidence_cache import EvidenceCache
from models.image.base import ImageEncoder
from models.inputs import PreparedBatch, Product, Scores, SharedEvidence, TensorBatch
from models.kinds import KINDS, Kinds
from models.precision import Precision
from models.preprocessing import Preprocessor
from models.snapshot import Snapshot

__all__ = ["PROBABILITY_TOLERANCE", "Classifier", "resolve_device"]

logger = logging.getLogger(__name__)

PROBABILITY_TOLERANCE: Final = 1e-2
"""How far a probability may move in half precision."""

_DTYPES: Final = {
    Precision.AUTO: torch.float16,
    Precision.FLOAT16: torch.float16,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT32: torch.float32,
}


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
        precision: Precision = Precision.FLOAT32,
        cache: EvidenceCache | None = None,
    ) -> None:
        """Put a version that was read on a device; the bundle's network is moved there and folded.

        Args:
            bundle: the version.
            device: where to score.
            num_threads: how many threads torch computes with on the CPU, 1 or more; None leaves it to torch.
            precision: what pictures are computed in on a GPU, from `warm_up` on.
            cache: a fresh one, for texts and pictures that `prepare_to_score` need not prepare again.
        """
        self.name = bundle.manifest.name
        self.version = bundle.manifest.version
        self.labels = bundle.labels
        self.device = device
        self.cascade = Cascade.of_metrics(bundle.metrics)
        self.snapshot = Snapshot.of_metrics(bundle.metrics, len(bundle.labels))
        if device.type == "cuda":
            # TF32, which cuDNN takes for convolutions unless told otherwise, moves logits by tenths.
            torch.backends.cudnn.allow_tf32 = False
        if bundle.network.image is not None:
            fold_batch_norms(bundle.network.image)
        self.network = bundle.network.to(device)
        self._golden = bundle.golden
        self._preprocessor = Preprocessor(bundle.network.text, bundle.network.image)
        self._num_threads = num_threads
        self._precision = precision
        self._cache = cache
        self._pictures: GraphedPictures | None = None
        self._threads_set = threading.local()

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str | torch.device = "cpu",
        *,
        num_threads: int | None = None,
        precision: Precision = Precision.FLOAT32,
        cache: EvidenceCache | None = None,
        kinds: Kinds = KINDS,
    ) -> Self:
        """Read, check and place the version in a folder.

        Args:
            folder: as `ModelRepository.resolve` names it.
            device: a torch device, or text for `resolve_device`.
            num_threads: as for the class.
            precision: as for the class.
            cache: as for the class.
            kinds: the encoders that the version may ask for.

        Raises:
            BundleError: the version is damaged or not one this release can read.
            DeviceError: there is no such device.
        """
        resolved = resolve_device(device) if isinstance(device, str) else device
        bundle = read_bundle(folder, kinds=kinds)
        return cls(bundle, resolved, num_threads=num_threads, precision=precision, cache=cache)

    def prepare(self, products: Sequence[Product], executor: Executor | None = None) -> PreparedBatch:
        """Everything before the device: clean and featurise texts, decode pictures.

        Args:
            products: B products; an unusable picture costs only itself.
            executor: threads to decode the pictures in; without one they are decoded one after the other.
        """
        return self._preprocessor.prepare(products, executor)

    def prepare_to_score(
        self, products: Sequence[Product], executor: Executor | None = None
    ) -> PreparedBatch:
        """As `prepare`, for `score` only: with a cache, of known and repeated contents nothing is prepared.

        Args:
            products: as for `prepare`.
            executor: as for `prepare`.
        """
        if self._cache is None:
            return self.prepare(products, executor)
        return self._preprocessor.prepare_to_score(products, self._cache, executor)

    @torch.inference_mode()
    def score(self, prepared: PreparedBatch) -> Scores:
        """Logits and probabilities, float32 (B, C), of B prepared products, B = 0 included.

        Rows that are not finite are there as well: look at `Scores.finite_B`.
        """
        return self._score(prepared, self._pictures)

    def _score(self, prepared: PreparedBatch, pictures: GraphedPictures | None) -> Scores:
        self._set_threads()
        batch = prepared.to_tensors(self.device)
        texts = None if prepared.shared_texts is None else prepared.shared_texts.evidence
        text_UC = None if texts is None or not texts.digests_U else self.network.text_evidence_BC(batch)
        image_UC = self._computed(batch, pictures, shared=prepared.shared_pictures is not None)
        logits_BC = self.network(
            batch,
            text_BC=self._spread(texts, text_UC),
            image_NC=self._spread(prepared.shared_pictures, image_UC),
        )
        both_2BC = torch.stack((logits_BC, torch.softmax(logits_BC, dim=1))).cpu().numpy()
        self._keep(prepared, text_UC, image_UC)
        return Scores(logits_BC=both_2BC[0], probabilities_BC=both_2BC[1])

    def _computed(
        self, batch: TensorBatch, pictures: GraphedPictures | None, *, shared: bool
    ) -> Tensor | None:
        if not len(batch.pixels_NHWK):
            return None
        if pictures is not None:
            return pictures(batch.pixels_NHWK)
        return self.network.image_evidence_NC(batch) if shared else None

    def _spread(self, shared: SharedEvidence | None, computed_UC: Tensor | None) -> Tensor | None:
        if shared is None:
            return computed_UC
        parts = [] if computed_UC is None else [computed_UC]
        if shared.known_M:
            parts.append(torch.from_numpy(np.stack(shared.known_M)).to(self.device))
        if not parts:
            return None
        return torch.cat(parts)[torch.from_numpy(shared.places_N).to(self.device)]

    def _keep(self, prepared: PreparedBatch, text_UC: Tensor | None, image_UC: Tensor | None) -> None:
        if self._cache is None:
            return
        if prepared.shared_texts is not None and text_UC is not None:
            self._cache.keep_evidence(
                prepared.shared_texts.evidence.digests_U,
                text_UC.cpu().numpy(),
                zip(prepared.text.present_B.tolist(), prepared.text.truncated_B.tolist(), strict=True),
            )
        if prepared.shared_pictures is not None and image_UC is not None:
            self._cache.keep_evidence(prepared.shared_pictures.digests_U, image_UC.cpu().numpy())

    def warm_up(self, max_batch: int) -> None:
        """Score batches of 1 and of `max_batch` so that the first real ones find everything allocated.

        The golden products stand in for real ones, over and over. On a GPU the image encoder is captured, in
        the precision that was asked for; in `Precision.AUTO` only as long as it leaves scores as they are.

        Raises:
            BundleError: in the precision that was asked for, golden products do not keep their scores.
        """
        if self.device.type == "cuda" and self.network.image is not None:
            self._pictures = self._captured(self.network.image, max_batch)
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
        try:
            with refused_as("golden check failed: the products cannot be prepared"):
                prepared = self.prepare(self._golden.products)
            largest = self._golden.check(self.labels.codes, self._exact(prepared).logits_BC, tolerance)
            if self._pictures is not None:
                self._require_same_probabilities(prepared, self._pictures)
        except BundleError as error:
            raise BundleError(f"{self.name}@{self.version} on {self.device}: {error}") from error
        return largest

    @torch.inference_mode()
    def _exact(self, prepared: PreparedBatch) -> Scores:
        return self._score(prepared, None)

    @torch.inference_mode()
    def _require_same_probabilities(self, prepared: PreparedBatch, pictures: GraphedPictures) -> None:
        """In half precision logits move, probabilities may by `PROBABILITY_TOLERANCE`."""
        exact_BC = self._exact(prepared).probabilities_BC
        difference = float(np.abs(self._score(prepared, pictures).probabilities_BC - exact_BC).max())
        if not difference <= PROBABILITY_TOLERANCE:
            raise BundleError(
                f"golden check failed: in {pictures.dtype} a probability differs by {difference:.3g}, "
                f"{PROBABILITY_TOLERANCE:g} is allowed; set the precision to float32"
            )

    @torch.inference_mode()
    def _captured(self, image: ImageEncoder, max_batch: int) -> GraphedPictures:
        prepared = self.prepare(self._golden.products)
        dtype = _DTYPES[self._precision]
        pictures = GraphedPictures(image, self.device, dtype=dtype, max_batch=max_batch)
        try:
            self._require_same_probabilities(prepared, pictures)
        except BundleError:
            if self._precision is not Precision.AUTO:
                raise
            logger.warning("%s@%s stays in float32: its scores do not hold in half", self.name, self.version)
            return GraphedPictures(image, self.device, dtype=torch.float32, max_batch=max_batch)
        return pictures

    def _set_threads(self) -> None:
        # OpenMP counts threads for each thread that computes: set in one, it means nothing in the next.
        if self._num_threads is not None and not getattr(self._threads_set, "done", False):
            torch.set_num_threads(self._num_threads)
            self._threads_set.done = True
