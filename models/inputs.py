"""What goes into a network and what comes out, one frozen class a stage: product, prepared, tensors, scores.

Shape letters: B products, N pictures (N <= B), T n-grams or tokens packed over all texts, C categories,
H and W pixels, K colour channels; `B1` is B + 1. Arrays of a stage are never written to once it exists.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ImageReason

__all__ = [
    "PreparedBatch",
    "Product",
    "Scores",
    "SharedEvidence",
    "SharedTexts",
    "TensorBatch",
    "TextFeatures",
]

Shared = TypeVar("Shared")

Rows = Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Product:
    """One product as a classifier takes it: text as received, picture as the bytes of its file.

    `image` is None both when none was promised and when a promised one could not be had; `image_reason`
    tells the second from the first.
    """

    title: str = ""
    description: str = ""
    image: bytes | None = field(default=None, repr=False)
    image_reason: ImageReason | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TextFeatures:
    """B texts as weighted ids, packed: text b owns `ids_T[offsets_B1[b]:offsets_B1[b + 1]]`.

    Attributes:
        ids_T: int64, rows of the encoder's table.
        weights_T: float32, the weight of each id.
        offsets_B1: int64, from 0 to T.
        present_B: bool, whether there was any text once cleaned; True with no known id is possible.
        truncated_B: bool, whether the encoder left some of the text out because it is too long.
    """

    ids_T: NDArray[np.int64]
    weights_T: NDArray[np.float32]
    offsets_B1: NDArray[np.int64]
    present_B: NDArray[np.bool_]
    truncated_B: NDArray[np.bool_]

    @property
    def num_texts(self) -> int:
        """B."""
        return len(self.present_B)

    @classmethod
    def absent(cls, num_texts: int) -> Self:
        """B rows without any text: what a model that reads none is given."""
        return cls(
            ids_T=np.zeros(0, np.int64),
            weights_T=np.zeros(0, np.float32),
            offsets_B1=np.zeros(num_texts + 1, np.int64),
            present_B=np.zeros(num_texts, np.bool_),
            truncated_B=np.zeros(num_texts, np.bool_),
        )

    def select(self, rows: Rows) -> Self:
        """The texts of `rows` (indices in any order, repeats allowed, or a mask), in that order."""
        rows_R = _as_indices(rows, self.num_texts)
        lengths_R = np.diff(self.offsets_B1)[rows_R]
        offsets_R1 = _offsets(lengths_R)
        first_R = self.offsets_B1[:-1][rows_R]
        take_T = np.arange(offsets_R1[-1]) + np.repeat(first_R - offsets_R1[:-1], lengths_R)
        return type(self)(
            ids_T=self.ids_T[take_T],
            weights_T=self.weights_T[take_T],
            offsets_B1=offsets_R1,
            present_B=self.present_B[rows_R],
            truncated_B=self.truncated_B[rows_R],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All texts of `parts`, one part after the other; at least one part."""
        lengths_B = np.concatenate([np.diff(part.offsets_B1) for part in parts])
        return cls(
            ids_T=np.concatenate([part.ids_T for part in parts]),
            weights_T=np.concatenate([part.weights_T for part in parts]),
            offsets_B1=_offsets(lengths_B),
            present_B=np.concatenate([part.present_B for part in parts]),
            truncated_B=np.concatenate([part.truncated_B for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class TensorBatch:
    """What the forward pass of a network takes, all on one device.

    Attributes:
        ids_T: int64.
        weights_T: float32.
        offsets_B1: int64, of fewer than B texts where texts are shared.
        text_present_B: bool, of the same texts.
        pixels_NHWK: uint8, RGB, pixel rows from the top; fewer than N where pictures are shared.
        image_rows_N: int64, the product of each picture, rising.
        has_text_B: bool, whether each product has text, however texts are shared.
    """

    ids_T: Tensor
    weights_T: Tensor
    offsets_B1: Tensor
    text_present_B: Tensor
    pixels_NHWK: Tensor
    image_rows_N: Tensor
    has_text_B: Tensor

    @property
    def num_products(self) -> int:
        """B."""
        return len(self.has_text_B)


@dataclass(frozen=True, slots=True, eq=False)
class SharedEvidence:
    """Where the evidence of N texts or pictures comes from when some are the same.

    Of the N, U are to be computed and M are known.

    Attributes:
        places_N: int64, of each, among the U computed ones followed by the M known ones.
        digests_U: what those to compute are known by.
        known_M: the evidence of the known ones, float32 of length C each.
    """

    places_N: NDArray[np.int64]
    digests_U: tuple[bytes, ...]
    known_M: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(
        cls, digests_N: Sequence[bytes], computed: Iterable[bytes], known: Mapping[bytes, NDArray[np.float32]]
    ) -> Self:
        """What N digests share, when U digests are to be computed and the evidence of M is known."""
        digests_U = tuple(computed)
        places = {digest: place for place, digest in enumerate(chain(digests_U, known))}
        places_N = np.fromiter(map(places.__getitem__, digests_N), np.int64, len(digests_N))
        return cls(places_N, digests_U, tuple(known.values()))

    def select(self, rows_R: NDArray[np.int64]) -> tuple[NDArray[np.int64], Self]:
        """Which of the U are still to compute for some of the N, rising, and what these share."""
        num_computed = len(self.digests_U)
        places_R = self.places_N[rows_R]
        kept = np.unique(places_R)
        computed = kept[kept < num_computed]
        selected = type(self)(
            places_N=np.searchsorted(kept, places_R).astype(np.int64, copy=False),
            digests_U=tuple(self.digests_U[place] for place in computed),
            known_M=tuple(self.known_M[place - num_computed] for place in kept[len(computed) :]),
        )
        return computed, selected

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All of `parts`, one part after the other; what two parts share is computed for each."""
        first_computed = _offsets(np.array([len(part.digests_U) for part in parts], np.int64))
        first_known = _offsets(np.array([len(part.known_M) for part in parts], np.int64)) + first_computed[-1]
        places = [
            part.places_N
            + np.where(part.places_N < len(part.digests_U), computed, known - len(part.digests_U))
            for part, computed, known in zip(parts, first_computed[:-1], first_known[:-1], strict=True)
        ]
        return cls(
            places_N=np.concatenate(places),
            digests_U=tuple(chain.from_iterable(part.digests_U for part in parts)),
            known_M=tuple(chain.from_iterable(part.known_M for part in parts)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SharedTexts:
    """Where the evidence of B texts comes from, and what else is to be said of each.

    Attributes:
        evidence: of the B texts.
        present_B: bool, as in `TextFeatures`.
        truncated_B: bool, as in `TextFeatures`.
    """

    evidence: SharedEvidence
    present_B: NDArray[np.bool_]
    truncated_B: NDArray[np.bool_]

    def select(self, rows_R: NDArray[np.int64]) -> tuple[NDArray[np.int64], Self]:
        """As of `SharedEvidence`."""
        computed, evidence = self.evidence.select(rows_R)
        return computed, type(self)(evidence, self.present_B[rows_R], self.truncated_B[rows_R])

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All texts of `parts`, one part after the other; what two parts share is computed for each."""
        return cls(
            SharedEvidence.concatenate([part.evidence for part in parts]),
            np.concatenate([part.present_B for part in parts]),
            np.concatenate([part.truncated_B for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBatch:
    """B products ready for a network, in main memory.

    Attributes:
        text: their B texts; with `shared_texts` only the ones to compute.
        pixels_NHWK: uint8, the N pictures that could be used, RGB, pixel rows from the top; with
            `shared_pictures` only the ones to compute.
        image_rows_N: int64, the product of each picture, rising.
        image_reasons: B entries; why a promised picture is not used, None when it is or none was promised.
        shared_texts: where texts were compared, what each product's evidence is.
        shared_pictures: where files were compared, what each picture's evidence is.
    """

    text: TextFeatures
    pixels_NHWK: NDArray[np.uint8]
    image_rows_N: NDArray[np.int64]
    image_reasons: tuple[ImageReason | None, ...]
    shared_texts: SharedTexts | None = None
    shared_pictures: SharedEvidence | None = None

    @classmethod
    def of_texts(cls, text: TextFeatures, shared_texts: SharedTexts | None = None) -> Self:
        """B products without pictures."""
        num_products = len((shared_texts or text).present_B)
        no_pictures = np.zeros((0, 1, 1, 3), np.uint8)
        no_reasons = (None,) * num_products
        return cls(text, no_pictures, np.zeros(0, np.int64), no_reasons, shared_texts)

    @property
    def num_products(self) -> int:
        """B."""
        return len(self.image_reasons)

    @property
    def text_present_B(self) -> NDArray[np.bool_]:
        """Whether each product has text once cleaned, bool of length B."""
        return (self.shared_texts or self.text).present_B

    @property
    def text_truncated_B(self) -> NDArray[np.bool_]:
        """Whether the encoder left some of each product's text out, bool of length B."""
        return (self.shared_texts or self.text).truncated_B

    @property
    def image_present_B(self) -> NDArray[np.bool_]:
        """Whether each product has a picture that is used, bool of length B."""
        present_B = np.zeros(self.num_products, np.bool_)
        present_B[self.image_rows_N] = True
        return present_B

    def select(self, rows: Rows) -> Self:
        """The products of `rows` (indices in any order, repeats allowed, or a mask), in that order."""
        rows_R = _as_indices(rows, self.num_products)
        picture_of_B = np.full(self.num_products, -1, np.int64)
        picture_of_B[self.image_rows_N] = np.arange(len(self.image_rows_N))
        picture_of_R = picture_of_B[rows_R]
        image_rows = np.flatnonzero(picture_of_R >= 0)
        texts, shared_texts = rows_R, None
        if self.shared_texts is not None:
            texts, shared_texts = self.shared_texts.select(rows_R)
        pixels, shared_pictures = picture_of_R[image_rows], None
        if self.shared_pictures is not None:
            pixels, shared_pictures = self.shared_pictures.select(pixels)
        return type(self)(
            text=self.text.select(texts),
            pixels_NHWK=self.pixels_NHWK[pixels],
            image_rows_N=image_rows,
            image_reasons=tuple(self.image_reasons[row] for row in rows_R),
            shared_texts=shared_texts,
            shared_pictures=shared_pictures,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All products of `parts`, one part after the other; at least one part, pictures of one size.

        Raises:
            ValueError: texts or pictures are shared in one part and not in another.
        """
        shared_texts = _all_or_none([part.shared_texts for part in parts])
        shared_pictures = _all_or_none([part.shared_pictures for part in parts])
        first_row_of_part = _offsets(np.array([part.num_products for part in parts], np.int64))
        image_rows = [
            part.image_rows_N + first_row
            for part, first_row in zip(parts, first_row_of_part[:-1], strict=True)
        ]
        return cls(
            text=TextFeatures.concatenate([part.text for part in parts]),
            pixels_NHWK=np.concatenate([part.pixels_NHWK for part in parts]),
            image_rows_N=np.concatenate(image_rows),
            image_reasons=tuple(chain.from_iterable(part.image_reasons for part in parts)),
            shared_texts=SharedTexts.concatenate(shared_texts) if shared_texts else None,
            shared_pictures=SharedEvidence.concatenate(shared_pictures) if shared_pictures else None,
        )

    def to_tensors(self, device: torch.device) -> TensorBatch:
        """The same products on `device`: one copy of each array, pinned and asynchronous when it is a GPU.

        On the CPU nothing is copied: the tensors share memory with the arrays.
        """
        text_present = has_text_B = _to_device(self.text.present_B, device)
        if self.shared_texts is not None:
            has_text_B = _to_device(self.shared_texts.present_B, device)
        return TensorBatch(
            ids_T=_to_device(self.text.ids_T, device),
            weights_T=_to_device(self.text.weights_T, device),
            offsets_B1=_to_device(self.text.offsets_B1, device),
            text_present_B=text_present,
            pixels_NHWK=_to_device(self.pixels_NHWK, device),
            image_rows_N=_to_device(self.image_rows_N, device),
            has_text_B=has_text_B,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a classifier answers for B products, in the order asked; C categories in the label set's order.

    Attributes:
        logits_BC: float32, temperature-calibrated; additive over modalities.
        probabilities_BC: float32, softmax of the logits.
    """

    logits_BC: NDArray[np.float32]
    probabilities_BC: NDArray[np.float32]

    @property
    def finite_B(self) -> NDArray[np.bool_]:
        """Whether every number of a product's row is finite, bool of length B; publish no other row."""
        finite_BC = np.isfinite(self.logits_BC) & np.isfinite(self.probabilities_BC)
        return np.asarray(finite_BC.all(axis=1))

    def select(self, rows: Rows) -> Self:
        """The scores of `rows` (indices in any order, repeats allowed, or a mask), in that order."""
        rows_R = _as_indices(rows, len(self.logits_BC))
        return type(self)(self.logits_BC[rows_R], self.probabilities_BC[rows_R])

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All scores of `parts`, one part after the other; at least one part."""
        return cls(
            logits_BC=np.concatenate([part.logits_BC for part in parts]),
            probabilities_BC=np.concatenate([part.probabilities_BC for part in parts]),
        )


def _as_indices(rows: Rows, num_rows: int) -> NDArray[np.int64]:
    rows_R = np.asarray(rows)
    if rows_R.dtype == np.bool_ and len(rows_R):
        if len(rows_R) != num_rows:
            raise IndexError(f"a mask of {len(rows_R)} rows cannot select from {num_rows}")
        return np.flatnonzero(rows_R)
    return rows_R.astype(np.int64, copy=False)


def _all_or_none(shared: Sequence[Shared | None]) -> list[Shared]:
    given = [each for each in shared if each is not None]
    if len(given) not in (0, len(shared)):
        raise ValueError("parts that share texts or pictures and parts that do not cannot be one batch")
    return given


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
