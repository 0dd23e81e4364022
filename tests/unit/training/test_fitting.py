"""One fit: reproducible, resumable to the same weights, and what it leaves behind."""

import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from models.errors import BundleError
from tests.unit.training.networks import (
    LABELS,
    SETTINGS,
    assert_same_weights,
    dropout_network,
    fitter,
    separable_rows,
)

INTERRUPT = "+callbacks.interrupt._target_=tests.unit.training.test_fitting.InterruptsInTheThirdEpoch"


class InterruptsInTheThirdEpoch(Callback):
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:  # noqa: ARG002 - Lightning's signature
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt


def fitted(folder: Path | None, *overrides: str) -> nn.Module:
    network = dropout_network()
    fitter(folder, *overrides).fit("text", network, separable_rows(), SETTINGS)
    return network


def test_two_fits_with_one_seed_end_with_the_same_weights_and_another_seed_does_not() -> None:
    assert_same_weights(fitted(None), fitted(None))
    with pytest.raises(AssertionError):
        assert_same_weights(fitted(None), fitted(None, "seed=2"))


def test_a_fit_learns() -> None:
    network = fitted(None).eval()
    data = separable_rows()
    data.setup("validate")
    inputs = data.inputs.take(data.validation_rows, torch.device("cpu"))
    accuracy = (network(inputs).argmax(dim=1) == data.truth_N[data.validation_rows]).float().mean()
    assert accuracy > 0.8


def test_an_interrupted_fit_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, INTERRUPT)
    assert (tmp_path / "checkpoints/text/last.ckpt").is_file()
    assert not (tmp_path / "fits").exists()
    assert_same_weights(fitted(tmp_path), fitted(None))
    assert not (tmp_path / "checkpoints/text/last.ckpt").exists()


def test_a_fit_that_had_ended_is_not_done_again(tmp_path: Path) -> None:
    first = fitted(tmp_path)
    # It would be interrupted if it were done again.
    assert_same_weights(fitted(tmp_path, INTERRUPT), first)


def test_a_pickle_in_the_place_of_a_checkpoint_or_of_weights_runs_no_code(tmp_path: Path) -> None:
    class Touches:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    for place, refusal in (("checkpoints/text/last.ckpt", Exception), ("fits/text.safetensors", BundleError)):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        torch.save({"state_dict": Touches()}, path)
        with pytest.raises(refusal, match=r"(?i)pickle|weights.only"):
            fitted(tmp_path)
        path.unlink()
    assert not (tmp_path / "ran").exists()


def test_checkpoints_load_with_weights_only(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, INTERRUPT)
    checkpoint = torch.load(tmp_path / "checkpoints/text/last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["num_categories"] == len(LABELS)


def test_early_stopping_ends_with_the_best_epoch(tmp_path: Path) -> None:
    network = dropout_network()
    settings = type(SETTINGS)(epochs=30, batch_size=16, learning_rate=0.1)
    fitter(tmp_path, "callbacks=early_stopping").fit("text", network, separable_rows(), settings)
    lines = (tmp_path / "csv/text/metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val/f1_weighted")
    scores = [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]
    assert 2 < len(scores) < 30
    best = torch.load(tmp_path / "checkpoints/text/best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(best["network.1.weight"], network.state_dict()["1.weight"])
    assert scores.index(max(scores)) < len(scores) - 1


def test_max_epochs_of_the_trainer_counts_more_than_the_encoders(tmp_path: Path) -> None:
    fitted(tmp_path, "trainer.max_epochs=2")
    lines = (tmp_path / "csv/text/metrics.csv").read_text().splitlines()
    epochs = {line.split(",")[lines[0].split(",").index("epoch")] for line in lines[1:]}
    assert epochs - {""} == {"0", "1"}


def test_bfloat16_learns_as_well(tmp_path: Path) -> None:
    fitted(tmp_path, "trainer=bf16", "trainer.accelerator=cpu")


def test_tensorboard_has_curves_a_confusion_matrix_each_epoch_and_the_projector(tmp_path: Path) -> None:
    fitted(tmp_path)
    folder = tmp_path / "tensorboard/text"
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    for name in ("train/loss", "val/loss", "val/f1_weighted", "val/f1_macro"):
        assert [event.step for event in events.Scalars(name)], name
        assert len(events.Scalars(name)) == SETTINGS.epochs
    assert [picture.step for picture in events.Images("val/confusion")] == list(range(SETTINGS.epochs))
    projector = (folder / "projector_config.pbtxt").read_text()
    assert "products" in projector
    metadata = next(folder.rglob("metadata.tsv")).read_text().splitlines()
    assert metadata[0] == "category\tpredicted\ttitle"
    assert len(metadata) == 16
    assert metadata[1].split("\t")[2] == "product 45"


def test_what_a_run_keeps_is_no_pickle_but_checkpoints(tmp_path: Path) -> None:
    fitted(tmp_path)
    assert json.dumps([str(path) for path in tmp_path.rglob("*.pkl")]) == "[]"
