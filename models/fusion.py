"""Additive fusion of what the text and the picture of a product say, calibrated to probabilities.

    logits_BC = (text_weight_BC * text_BC + image_weight_BC * image_BC + bias_BC) / temperature_B

`text_BC` is the text encoder's evidence, `image_BC` the sum over the cells of the image encoder's; a product
without text or without a picture gets that modality's mean evidence over the training rows instead.
Weights, bias and temperature depend only on which of the two a product has, as what a picture adds to a text
is not what it says alone. So for one product the logits are a sum of one part from the text, one from the
picture and a constant: the joint Shapley values of words and cells are those of each modality alone (Lundberg
and Lee 2017, section 4: linearity and additivity).

Shape letters: B products, N pictures, C categories, P cells of the pooled map.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.image.base import ImageEncoder
from models.inputs import TensorBatch
from models.text.base import TextEncoder

__all__ = ["Evidence", "Fusion", "FusionCalibration", "FusionNetwork", "ModalityLogits", "Presence"]


class Presence:
    """What a product has, as positions in what is fitted for each.

    A product with neither is answered as one with both.
    """

    TEXT = 0
    IMAGE = 1
    BOTH = 2

    @classmethod
    def of(cls, has_text: bool, has_image: bool) -> int:
        """The position of a product."""
        if has_text == has_image:
            return cls.BOTH
        return cls.TEXT if has_text else cls.IMAGE


class Evidence(NamedTuple):
    """What the encoders say before anything is weighed: the input of a fitted fusion.

    Attributes:
        text_BC: float32; zeros where there is no text.
        image_BC: float32, summed over the cells; zeros where there is no picture.
        text_present_B: bool.
        image_present_B: bool.
    """

    text_BC: Tensor
    image_BC: Tensor
    text_present_B: Tensor
    image_present_B: Tensor


class ModalityLogits(NamedTuple):
    """The three parts of the calibrated logits, each float32 (B, C): `text + image + bias = logits`."""

    text_BC: Tensor
    image_BC: Tensor
    bias_BC: Tensor

    @property
    def logits_BC(self) -> Tensor:
        """The sum of the parts."""
        return self.text_BC + self.image_BC + self.bias_BC


@dataclass(frozen=True, slots=True, eq=False)
class FusionCalibration:
    """Everything of a fusion that is fitted after its encoders; each float32.

    Attributes:
        text_weight_3C: how far the text counts for each category; rows as in `Presence`.
        image_weight_3C: the same for the picture.
        bias_3C: added to the weighted evidence.
        text_mean_C: mean text evidence of the training rows, stands in where there is no text.
        image_mean_C: the same for the picture.
        temperature_3: divides the logits; all above zero.
    """

    text_weight_3C: Tensor
    image_weight_3C: Tensor
    bias_3C: Tensor
    text_mean_C: Tensor
    image_mean_C: Tensor
    temperature_3: Tensor


class Fusion(nn.Module):
    """The calibrated sum of the evidence of two modalities.

    The calibration is held in buffers: gradients pass through it to the encoders, but no optimizer moves it.
    It starts as a plain sum: weights and temperatures 1, bias and means 0.
    """

    text_weight_3C: Tensor
    image_weight_3C: Tensor
    bias_3C: Tensor
    text_mean_C: Tensor
    image_mean_C: Tensor
    temperature_3: Tensor

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.register_buffer("text_weight_3C", torch.ones(3, num_categories))
        self.register_buffer("image_weight_3C", torch.ones(3, num_categories))
        self.register_buffer("bias_3C", torch.zeros(3, num_categories))
        self.register_buffer("text_mean_C", torch.zeros(num_categories))
        self.register_buffer("image_mean_C", torch.zeros(num_categories))
        self.register_buffer("temperature_3", torch.ones(3))

    @torch.no_grad()
    def calibrate(self, calibration: FusionCalibration) -> None:
        """Take over fitted values; they are copied, and either all are or none.

        Raises:
            ModelError: a value has another shape, is not finite, or a temperature is not above zero.
        """
        fitted = {
            name: torch.as_tensor(getattr(calibration, name), dtype=torch.float32)
            for name in FusionCalibration.__dataclass_fields__
        }
        for name, value in fitted.items():
            _check_fitted(name, value, self.get_buffer(name).shape)
        if not bool((fitted["temperature_3"] > 0).all()):
            raise ModelError(f"temperatures must be above 0, they are {fitted['temperature_3'].tolist()}")
        for name, value in fitted.items():
            self.get_buffer(name).copy_(value)

    def fuse(self, evidence: Evidence) -> ModalityLogits:
        """The formula at the top of this module, in float32."""
        has_text_B, has_image_B = evidence.text_present_B, evidence.image_present_B
        text_BC = torch.where(has_text_B[:, None], evidence.text_BC, self.text_mean_C)
        image_BC = torch.where(has_image_B[:, None], evidence.image_BC, self.image_mean_C)
        presence_B = torch.where(has_text_B, Presence.TEXT, Presence.IMAGE)
        presence_B = torch.where(has_text_B == has_image_B, Presence.BOTH, presence_B)
        temperature_B1 = self.temperature_3[presence_B, None]
        return ModalityLogits(
            self.text_weight_3C[presence_B] * text_BC / temperature_B1,
            self.image_weight_3C[presence_B] * image_BC / temperature_B1,
            self.bias_3C[presence_B] / temperature_B1,
        )


class FusionNetwork(Fusion):
    """A text encoder, an image encoder, or both, and the calibrated sum of their evidence."""

    def __init__(self, text: TextEncoder | None, image: ImageEncoder | None, num_categories: int) -> None:
        """Put the encoders together; each must answer evidence for `num_categories` categories.

        Raises:
            ModelError: neither encoder is given, or one answers for another number of categories.
        """
        super().__init__(num_categories)
        encoders = [encoder for encoder in (text, image) if encoder is not None]
        if not encoders:
            raise ModelError("a fusion needs a text encoder, an image encoder or both, there is neither")
        for encoder in encoders:
            if encoder.num_categories != num_categories:
                raise ModelError(
                    f"encoder {encoder.kind!r} answers for {encoder.num_categories} categories, the fusion "
                    f"has {num_categories}"
                )
        self.text = text
        self.image = image

    def forward(
        self, batch: TensorBatch, *, text_BC: Tensor | None = None, image_NC: Tensor | None = None
    ) -> Tensor:
        """Calibrated logits, float32 (B, C).

        Args:
            batch: the products.
            text_BC: the evidence of their texts, where somebody has it already.
            image_NC: the evidence of their pictures, summed over the cells, where somebody has it already.
        """
        return self.fuse(self.evidence(batch, text_BC=text_BC, image_NC=image_NC)).logits_BC

    def modality_logits(self, batch: TensorBatch) -> ModalityLogits:
        """The logits in parts: what the text adds, what the picture adds, and the rest."""
        return self.fuse(self.evidence(batch))

    def evidence(
        self, batch: TensorBatch, *, text_BC: Tensor | None = None, image_NC: Tensor | None = None
    ) -> Evidence:
        """What each encoder says about each product, in float32 whatever the encoders compute in."""
        zeros_BC = self.text_mean_C.new_zeros(batch.num_products, self.num_categories)
        absent_B = torch.zeros_like(batch.has_text_B)
        text_present_B = absent_B
        if self.text is None:
            text_BC = zeros_BC
        else:
            text_BC = self.text_evidence_BC(batch) if text_BC is None else text_BC
            text_present_B = batch.has_text_B
        image_BC, image_present_B = zeros_BC, absent_B
        if self.image is not None and len(batch.image_rows_N):
            if image_NC is None:
                image_NC = self.image_evidence_NC(batch)
            image_BC = zeros_BC.index_copy(0, batch.image_rows_N, image_NC)
            image_present_B = absent_B.index_fill(0, batch.image_rows_N, value=True)
        return Evidence(text_BC, image_BC, text_present_B, image_present_B)

    def text_evidence_BC(self, batch: TensorBatch) -> Tensor:
        """What the text encoder says of each text of `batch`, float32; zeros where there is none.

        Raises:
            ModelError: there is no text encoder.
        """
        if self.text is None:
            raise ModelError("a fusion without a text encoder has no evidence of texts")
        evidence_BC: Tensor = self.text(batch)
        return evidence_BC.float()

    def image_evidence_NC(self, batch: TensorBatch) -> Tensor:
        """What the image encoder says of each picture in `pixels_NHWK`, float32, summed over the cells.

        Raises:
            ModelError: there is no image encoder.
        """
        if self.image is None:
            raise ModelError("a fusion without an image encoder has no evidence of pictures")
        evidence_NPC: Tensor = self.image(batch)
        return evidence_NPC.float().sum(dim=1)


def _check_fitted(name: str, value: Tensor, shape: torch.Size) -> None:
    if value.shape != shape or not bool(value.isfinite().all()):
        raise ModelError(
            f"{name} must hold finite numbers in the shape {tuple(shape)}, its shape is {tuple(value.shape)}"
        )
