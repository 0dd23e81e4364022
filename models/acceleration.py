"""Image encoders made faster for serving, with the scores they had.

On any device, batch normalisation behind a convolution is folded into its weights. On a GPU there is half
precision where scores hold, and CUDA graphs for batches of a few sizes.

A small network spends more time on launching kernels than in them: MobileNetV2 launches a hundred and fifty
for a batch, each of some microseconds. A CUDA graph replays them all with one launch, for one shape, so a
batch is padded to the next size that was captured, and a larger one is cut.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.image.base import ImageEncoder

__all__ = ["GraphedPictures", "fold_batch_norms", "graph_sizes"]

logger = logging.getLogger(__name__)

_WARM_UP_RUNS: Final = 3


@torch.no_grad()
def fold_batch_norms(module: nn.Module) -> None:
    """Fold every batch normalisation into the convolution right before it, in place; for evaluation only.

    With fixed statistics a normalisation is linear: w' = w gamma / sqrt(var + eps), and likewise the bias
    (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", section 3.2). Outputs stay equal but for rounding, some 1e-6 of a logit.
    """
    children = list(module.named_children())
    for (name, child), (next_name, follower) in pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, follower))
            setattr(module, next_name, nn.Identity())
    for _, child in children:
        fold_batch_norms(child)


def graph_sizes(max_batch: int) -> tuple[int, ...]:
    """Batch sizes that are captured: powers of two up to `max_batch`, and that itself."""
    powers = (2**power for power in range(max_batch.bit_length()) if 2**power < max_batch)
    return (*powers, max_batch)


class GraphedPictures:
    """The evidence of pictures by an image encoder on a GPU; threads take turns.

    Args:
        encoder: on `device`, in evaluation mode.
        device: a GPU.
        dtype: what convolutions compute in.
        max_batch: the most pictures of one replay.
    """

    def __init__(
        self, encoder: ImageEncoder, device: torch.device, *, dtype: torch.dtype, max_batch: int
    ) -> None:
        self._encoder = encoder
        self._device = device
        self.dtype = dtype
        self._replays: dict[int, Callable[[Tensor], Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._lock = threading.Lock()
        for size in graph_sizes(max_batch):
            if not self._capture(size):
                break

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes with a graph of their own, rising; fewer than asked for where memory ran out."""
        return tuple(self._replays)

    def __call__(self, pixels_NHWK: Tensor) -> Tensor:
        """evidence_NC, float32, summed over the cells, of uint8 pictures on the device."""
        if not self._replays:
            return self._forward(pixels_NHWK)
        with self._lock:
            parts = [self._replay(pixels_NHWK[first:last]) for first, last in self._cuts(len(pixels_NHWK))]
        return torch.cat(parts)

    def _cuts(self, num_pictures: int) -> Iterator[tuple[int, int]]:
        return pairwise([*range(0, num_pictures, self.sizes[-1]), num_pictures])

    def _replay(self, pixels_NHWK: Tensor) -> Tensor:
        size = next(size for size in self.sizes if size >= len(pixels_NHWK))
        return self._replays[size](pixels_NHWK)

    def _forward(self, pixels_NHWK: Tensor) -> Tensor:
        with torch.autocast("cuda", dtype=self.dtype, enabled=self.dtype != torch.float32):
            evidence_NPC = self._encoder.head(self._encoder.features_NPD(pixels_NHWK))
        return evidence_NPC.float().sum(dim=1)

    def _capture(self, size: int) -> bool:
        side = self._encoder.image_size
        try:
            # Graphs share one pool of memory: only one runs at a time, and its answer is copied at once.
            pixels_NHWK = torch.zeros((size, side, side, 3), dtype=torch.uint8, device=self._device)
            self._run_beside(pixels_NHWK)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                evidence_NC = self._forward(pixels_NHWK)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            logger.warning("no memory for a graph of %d pictures; batches are cut to %s", size, self.sizes)
            return False

        def replay(fresh_NHWK: Tensor) -> Tensor:
            pixels_NHWK[: len(fresh_NHWK)].copy_(fresh_NHWK)
            graph.replay()
            return evidence_NC[: len(fresh_NHWK)].clone()

        self._replays[size] = replay
        return True

    def _run_beside(self, pixels_NHWK: Tensor) -> None:
        """Let cuDNN choose its algorithms before the capture, on a stream of its own as that wants it."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                self._forward(pixels_NHWK)
        torch.cuda.current_stream(self._device).wait_stream(stream)
