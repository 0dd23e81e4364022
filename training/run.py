"""`train(cfg)`: the only wiring of a training run, from a catalogue to a version in the repository.

Text and picture encoders are fitted apart. The fusion is fitted on evidence of encoders that never saw the
row (out of fold, near duplicates in one fold); the stored encoders are fitted on all training rows. Rows held
out for validation are seen by no fit.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_module
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from rich.progress import Progress
from torch import Tensor

from models.bundle import BundleMetadata, write_bundle
from models.errors import ImageError
from models.evaluation import Evaluation, evaluate, softmax
from models.fusion import Evidence, FusionNetwork
from models.golden import pick_golden_products
from models.image.backbones import TorchvisionBackbone
from models.image.decoding import ImageLimits, decode_image
from models.inputs import Product, TextFeatures
from models.repository import ModelLocation, ModelRepository
from models.text.ngram_bag import NgramBag, NgramVocabulary, fit_vocabulary
from training.calibration import fit_fusion
from training.fit_progress import progress_bars
from training.rows import TrainingRows, load_rows
from training.stages import (
    FeatureHead,
    StageRows,
    fit_image,
    fit_text,
    picture_features,
    settle_batch_norm,
    text_evidence,
)

logger = logging.getLogger(__name__)

CHAMPION = "champion"
NUM_SETTLING_PICTURES = 64
"""Training pictures that the statistics of a random backbone come from."""


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A new version and how it scores on the rows held out."""

    location: ModelLocation
    evaluation: Evaluation
    is_champion: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """Everything that is computed once for all fits."""

    rows: TrainingRows
    stage_rows: StageRows
    vocabulary: NgramVocabulary
    text: TextFeatures
    picture_rows: NDArray[np.int64]
    features_ND: Tensor
    backbone: TorchvisionBackbone
    num_broken_pictures: int

    @property
    def picture_of_row(self) -> NDArray[np.int64]:
        """Number of each row's picture, -1 without one."""
        of_row = np.full(len(self.rows), -1, np.int64)
        of_row[self.picture_rows] = np.arange(len(self.picture_rows))
        return of_row

    def picture_stage(self) -> StageRows:
        """The stage rows of the pictures, in their order."""
        every = self.stage_rows
        return StageRows(
            every.truth_N[self.picture_rows], every.weight_N[self.picture_rows], every.num_categories
        )


def compose_config(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of a run: `training/conf/train.yaml` with Hydra overrides."""
    with initialize_config_module("training.conf", version_base="1.3"):
        return compose("train", overrides=list(overrides))


def train(cfg: DictConfig) -> TrainedVersion:
    """Train a version, score it on the rows held out, and put it into the repository.

    Args:
        cfg: as `compose_config` gives it.

    Raises:
        CatalogueError: the catalogue cannot be read or has nothing to learn from.
        models.errors.ModelError: weights or repository cannot be used.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.manual_seed(cfg.seed)
    rows = load_rows(
        Path(cfg.data.root),
        include_pseudo=cfg.data.include_pseudo,
        validation_fraction=cfg.data.validation_fraction,
        seed=cfg.seed,
    )
    with progress_bars() as progress:
        inputs = _prepare(cfg, rows, progress)
        bag, backbone = _encoders(cfg, inputs, rows.train_rows, progress)
        network = FusionNetwork(bag, backbone, len(rows.labels))
        evidence, fitted = _out_of_fold(cfg, inputs, progress)
    network.calibrate(
        fit_fusion(
            evidence,
            torch.from_numpy(rows.truth_N[fitted]),
            torch.ones(len(fitted)),
            l2=cfg.fusion.l2,
            alone_share=cfg.fusion.alone_share,
        )
    )
    evaluation = _evaluate(network.eval(), bag, inputs)
    return _publish(cfg, network, inputs, evaluation)


def _prepare(cfg: DictConfig, rows: TrainingRows, progress: Progress) -> _Inputs:
    weight_N = np.where(rows.pseudo_N, cfg.data.pseudo_weight, 1.0).astype(np.float32)
    texts = rows.texts
    vocabulary = fit_vocabulary(
        [texts[row] for row in rows.train_rows], max_characters=cfg.text.max_characters
    )
    reader = NgramBag(
        vocabulary, len(rows.labels), embedding_dim=None, max_characters=cfg.text.max_characters
    )
    backbone = TorchvisionBackbone(
        cfg.image.architecture,
        len(rows.labels),
        weights=cfg.image.weights,
        image_size=cfg.image.image_size,
    ).eval()
    found: list[int] = []
    wanted = [
        row for row, each in enumerate(rows.rows) if each.image_path is not None or each.image is not None
    ]
    if cfg.image.weights is None:
        logger.warning("the image backbone has random weights; set image.weights to a file for real pictures")
        known = [row for row in wanted if not rows.validation_N[row]][:NUM_SETTLING_PICTURES]
        settle_batch_norm(backbone, _decoded(rows, known, cfg.image.image_size, []))
    decoded = _decoded(rows, wanted, cfg.image.image_size, found)
    features_ND = picture_features(backbone, decoded, len(wanted), progress)
    if num_broken := len(wanted) - len(found):
        logger.warning("%d of %d pictures are missing or broken and are left out", num_broken, len(wanted))
    return _Inputs(
        rows,
        StageRows(rows.truth_N, weight_N, len(rows.labels)),
        vocabulary,
        reader.featurize(texts),
        np.array(found, np.int64),
        features_ND,
        backbone,
        num_broken,
    )


def _decoded(
    rows: TrainingRows, wanted: Sequence[int], size_px: int, found: list[int]
) -> Iterator[NDArray[np.uint8]]:
    limits = ImageLimits()
    for row in wanted:
        data = rows.product(row).image
        try:
            picture = decode_image(data or b"", size_px, limits)
        except ImageError:
            continue
        found.append(row)
        yield picture


def _encoders(
    cfg: DictConfig, inputs: _Inputs, learn_from: NDArray[np.int64], progress: Progress
) -> tuple[NgramBag, TorchvisionBackbone | None]:
    bag = fit_text(cfg, inputs.text, inputs.vocabulary, inputs.stage_rows, learn_from, progress)
    head = _image_head(cfg, inputs, learn_from, progress)
    if head is None:
        return bag, None
    with torch.no_grad():
        weight_CD, bias_C = head.folded()
        inputs.backbone.weight_CD.copy_(weight_CD)
        inputs.backbone.bias_C.copy_(bias_C)
    return bag, inputs.backbone


def _image_head(
    cfg: DictConfig, inputs: _Inputs, learn_from: NDArray[np.int64], progress: Progress
) -> FeatureHead | None:
    pictures = inputs.picture_of_row[learn_from]
    pictures = pictures[pictures >= 0]
    if len(pictures) < 2:
        return None
    return fit_image(cfg, inputs.features_ND, inputs.picture_stage(), pictures, progress)


def _out_of_fold(cfg: DictConfig, inputs: _Inputs, progress: Progress) -> tuple[Evidence, NDArray[np.int64]]:
    """Evidence for each labelled training row from encoders fitted without its fold; costs a fit a fold."""
    rows = inputs.rows
    fitted = np.flatnonzero(~rows.validation_N & ~rows.pseudo_N)
    fold_N = np.random.default_rng(cfg.seed).permutation(rows.groups_N.max() + 1)[rows.groups_N]
    fold_N = fold_N % cfg.fusion.num_folds
    text_NC = torch.zeros(len(rows), len(rows.labels))
    image_NC = torch.zeros(len(rows), len(rows.labels))
    for fold in range(cfg.fusion.num_folds):
        learn_from = rows.train_rows[fold_N[rows.train_rows] != fold]
        held_out = fitted[fold_N[fitted] == fold]
        bag = fit_text(cfg, inputs.text, inputs.vocabulary, inputs.stage_rows, learn_from, progress)
        text_NC[held_out] = text_evidence(bag, inputs.text, held_out)
        head = _image_head(cfg, inputs, learn_from, progress)
        if head is not None:
            pictured = held_out[inputs.picture_of_row[held_out] >= 0]
            with torch.inference_mode():
                image_NC[pictured] = head(inputs.features_ND[inputs.picture_of_row[pictured]])
    has_image_N = torch.from_numpy(inputs.picture_of_row >= 0)
    has_text_N = torch.from_numpy(inputs.text.present_B)
    return Evidence(text_NC[fitted], image_NC[fitted], has_text_N[fitted], has_image_N[fitted]), fitted


@torch.inference_mode()
def _evaluate(network: FusionNetwork, bag: NgramBag, inputs: _Inputs) -> Evaluation:
    rows = inputs.rows
    held_out = rows.validation_rows
    image_RC = torch.zeros(len(held_out), len(rows.labels))
    pictures = inputs.picture_of_row[held_out]
    if network.image is not None and (pictures >= 0).any():
        features = inputs.features_ND[pictures[pictures >= 0]]
        image_RC[pictures >= 0] = network.image.head(features[:, None]).sum(dim=1)
    present = inputs.text.present_B[held_out]
    evidence = Evidence(
        text_evidence(bag, inputs.text, held_out),
        image_RC,
        torch.from_numpy(present),
        torch.from_numpy(pictures >= 0),
    )
    logits_RC = network.fuse(evidence).logits_BC.numpy()
    return evaluate(
        softmax(logits_RC),
        rows.truth_N[held_out],
        rows.labels,
        text_present_B=present,
        image_present_B=pictures >= 0,
    )


def _publish(
    cfg: DictConfig, network: FusionNetwork, inputs: _Inputs, evaluation: Evaluation
) -> TrainedVersion:
    repository = ModelRepository(cfg.repository)
    fingerprint = inputs.rows.fingerprint() | {"broken_pictures": inputs.num_broken_pictures}
    metadata = BundleMetadata(
        golden=pick_golden_products(_golden_candidates(inputs)),
        metrics=evaluation.to_json(),
        data_fingerprint=fingerprint,
        config=_plain(cfg),
        card=_card(cfg, evaluation, fingerprint),
    )
    location = repository.publish(
        cfg.name,
        lambda folder, version: write_bundle(
            folder, network, inputs.rows.labels, name=cfg.name, version=version, metadata=metadata
        ),
    )
    is_first = CHAMPION not in repository.aliases(cfg.name)
    is_champion = cfg.promote == "always" or (cfg.promote == "auto" and is_first)
    if is_champion:
        repository.promote(str(location), CHAMPION)
    return TrainedVersion(location, evaluation, is_champion)


def _golden_candidates(inputs: _Inputs) -> Iterator[Product]:
    """Training rows from as many categories as there are, those with a picture first."""
    rows = inputs.rows
    pictured = inputs.picture_of_row >= 0
    order = sorted(rows.train_rows.tolist(), key=lambda row: (not pictured[row], row))
    first_of: dict[int, int] = {}
    for row in order:
        first_of.setdefault(int(rows.truth_N[row]), row)
    first = list(first_of.values())
    chosen = set(first)
    for row in [*first, *(row for row in order if row not in chosen)]:
        yield rows.product(row)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration without the paths of this machine."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    plain["data"]["root"] = Path(plain["data"]["root"]).name
    plain["repository"] = Path(plain["repository"]).name
    if plain["image"]["weights"]:
        plain["image"]["weights"] = Path(plain["image"]["weights"]).name
    return {str(key): value for key, value in plain.items()}


def _card(cfg: DictConfig, evaluation: Evaluation, fingerprint: dict[str, Any]) -> str:
    return (
        f"# {cfg.name}\n\n"
        "Additive fusion of an n-gram bag over title and description with a linear head on a frozen image "
        "backbone.\n\n"
        f"| on {evaluation.rows} rows held out | |\n| --- | --- |\n"
        f"| weighted F1 | {evaluation.weighted_f1:.4f} |\n| macro F1 | {evaluation.macro_f1:.4f} |\n"
        f"| accuracy | {evaluation.accuracy:.4f} |\n| expected calibration error | {evaluation.ece:.4f} |\n\n"
        "## Data\n\n" + "".join(f"- {name}: {value}\n" for name, value in fingerprint.items()) + "\n"
        "## Reproduce\n\n"
        f"`shelver train name={cfg.name} seed={cfg.seed} data.root=...`, the rest as in bundle.json.\n\n"
        "## Limits\n\nScores hold for products like those it was trained on, in the same language.\n"
    )
