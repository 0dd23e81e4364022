"""From the configuration of a text encoder to the stage that fits it, a function a kind."""

import copy

from omegaconf import DictConfig

from models.text.embedding_bag import EmbeddingBagEncoder
from models.text.ngram_bag import NgramBag, fit_vocabulary
from models.text.tokenizer import Tokenizer
from models.text.transformer import TransformerEncoder
from training.fitting import FitSettings, Fitter
from training.ngram_stage import NgramStage, SvmSettings
from training.pretrained import load_trunk, tune
from training.rows import TrainingRows
from training.stages import StageRows
from training.text_stage import TextStage
from training.tokenizer_sources import load_tokenizer

__all__ = ["embedding_bag_stage", "ngram_bag_stage", "transformer_stage"]


def ngram_bag_stage(cfg: DictConfig, rows: TrainingRows, stage_rows: StageRows, fitter: Fitter) -> NgramStage:
    """A bag of n-grams, with the vocabulary of all training rows."""
    texts = rows.texts
    settings = cfg.text
    vocabulary = fit_vocabulary(
        [texts[row] for row in rows.train_rows], max_characters=settings.max_characters
    )

    def build() -> NgramBag:
        return NgramBag(
            vocabulary,
            len(rows.labels),
            embedding_dim=settings.embedding_dim,
            dropout=settings.dropout,
            max_characters=settings.max_characters,
        )

    return NgramStage(
        fitter,
        stage_rows,
        texts,
        build,
        FitSettings.of(settings),
        num_bags=settings.num_bags,
        svm=SvmSettings(settings.svm_weight, settings.svm_strength),
    )


def embedding_bag_stage(
    cfg: DictConfig, rows: TrainingRows, stage_rows: StageRows, fitter: Fitter
) -> TextStage[EmbeddingBagEncoder]:
    """A mean of token embeddings."""
    settings = cfg.text
    tokenizer = _tokenizer(settings, rows)

    def build() -> EmbeddingBagEncoder:
        return EmbeddingBagEncoder(
            tokenizer,
            len(rows.labels),
            embedding_dim=settings.embedding_dim,
            max_tokens=settings.max_tokens,
            max_characters=settings.max_characters,
        )

    return TextStage(fitter, stage_rows, rows.texts, build, FitSettings.of(settings))


def transformer_stage(
    cfg: DictConfig, rows: TrainingRows, stage_rows: StageRows, fitter: Fitter
) -> TextStage[TransformerEncoder]:
    """An encoder of transformers, tuned as asked."""
    settings = cfg.text
    tokenizer = _tokenizer(settings, rows)
    trunk = load_trunk(settings.source, weights=settings.weights, num_tokens=len(tokenizer))

    def build() -> TransformerEncoder:
        encoder = TransformerEncoder(
            copy.deepcopy(trunk),
            tokenizer,
            len(rows.labels),
            dropout=settings.dropout,
            max_tokens=settings.max_tokens,
            max_characters=settings.max_characters,
        )
        tune(encoder.trunk, settings.tuning, num_layers=settings.num_tuned_layers, rank=settings.lora_rank)
        return encoder

    return TextStage(
        fitter, stage_rows, rows.texts, build, FitSettings.of(settings), TransformerEncoder.merged
    )


def _tokenizer(settings: DictConfig, rows: TrainingRows) -> Tokenizer:
    texts = rows.texts
    return load_tokenizer(
        settings.tokenizer,
        [texts[row] for row in rows.train_rows],
        new_tokens=settings.new_tokens,
        vocabulary_size=settings.vocabulary_size,
    )
