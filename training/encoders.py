"""Which stage fits an encoder, by its kind: the one table of training.

A new kind is its stage and a line here.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from omegaconf import DictConfig

from models.errors import UnsupportedKindError
from models.image.backbones import TorchvisionBackbone
from models.text.embedding_bag import EmbeddingBagEncoder
from models.text.ngram_bag import NgramBag
from models.text.transformer import TransformerEncoder
from training.fitting import Fitter
from training.image_kinds import torchvision_stage
from training.rows import TrainingRows
from training.stages import EncoderStage, StageRows
from training.text_kinds import embedding_bag_stage, ngram_bag_stage, transformer_stage

__all__ = ["image_stage", "text_stage"]

Build = Callable[[DictConfig, TrainingRows, StageRows, Fitter], EncoderStage[Any]]

NO_ENCODER: Final = "none"


def text_stage(
    cfg: DictConfig, rows: TrainingRows, stage_rows: StageRows, fitter: Fitter
) -> EncoderStage[Any] | None:
    """The stage of `cfg.text.kind`; None for `none`."""
    return _build(_TEXT, "text", cfg, rows, stage_rows, fitter)


def image_stage(
    cfg: DictConfig, rows: TrainingRows, stage_rows: StageRows, fitter: Fitter
) -> EncoderStage[Any] | None:
    """The stage of `cfg.image.kind`; None for `none`."""
    return _build(_IMAGE, "image", cfg, rows, stage_rows, fitter)


def _build(
    table: Mapping[str, Build],
    group: str,
    cfg: DictConfig,
    rows: TrainingRows,
    stage_rows: StageRows,
    fitter: Fitter,
) -> EncoderStage[Any] | None:
    kind = cfg[group].kind
    if kind == NO_ENCODER:
        return None
    if kind not in table:
        known = ", ".join([*table, NO_ENCODER])
        raise UnsupportedKindError(f"{group}.kind is {str(kind)[:40]!r}, it must be one of {known}")
    return table[kind](cfg, rows, stage_rows, fitter)


_TEXT: Final[Mapping[str, Build]] = {
    NgramBag.kind: ngram_bag_stage,
    EmbeddingBagEncoder.kind: embedding_bag_stage,
    TransformerEncoder.kind: transformer_stage,
}
_IMAGE: Final[Mapping[str, Build]] = {TorchvisionBackbone.kind: torchvision_stage}
