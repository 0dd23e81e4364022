"""`shelver train` as people use it: interrupted, repeated, many at once, distributed, set up wrongly."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from transformers import BertConfig

from models.bundle import read_bundle
from models.catalogue_scoring import labelled_rows, score_rows
from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import read_catalogue
from stream_app import cli
from training.run import compose_config, train
from training.run_folder import read_config, run_folder

SHELVER = str(Path(sys.executable).with_name("shelver"))
TEXT_ONLY = ("model=text", "text.num_bags=2", "text.epochs=6")
ON_ROWS = (*TEXT_ONLY, "data.root=rows.jsonl", "run_dir=run", "callbacks=none", "logger=none")
INTERRUPT = "+callbacks.interrupt._target_=tests.unit.training.test_fitting.InterruptsInTheThirdEpoch"


def command(*arguments: object) -> list[str]:
    return [SHELVER, "train", *map(str, arguments)]


def shelver_train(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )


def result_of(finished: "subprocess.CompletedProcess[str]") -> Any:
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout.splitlines()[-1])


def scores_of(repository: Path, model: str, catalogue: Path) -> np.ndarray:
    classifier = Classifier.load(ModelRepository(repository).resolve(model).folder)
    return score_rows(classifier, labelled_rows(catalogue)).probabilities_BC


@pytest.fixture(scope="module")
def uninterrupted(sample_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of a run that went through."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(compose_config([*TEXT_ONLY, f"data.root='{sample_catalogue}'", f"repository='{folder}'"]))
    return folder


def test_a_run_that_was_killed_goes_on_to_the_same_version(
    sample_catalogue: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    overrides = (*TEXT_ONLY, f"data.root={sample_catalogue}", f"run_dir={run_dir}", "callbacks=checkpoint")
    process = subprocess.Popen(
        command(*overrides), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(run_dir / "fits" / "text-bag-1.safetensors", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = result_of(shelver_train(tmp_path, "--resume", run_dir, "--json"))
    assert not (run_dir / "fits").exists()
    found_BC = scores_of(tmp_path / "repository", result["model"], sample_catalogue)
    np.testing.assert_allclose(
        found_BC, scores_of(uninterrupted, "fusion", sample_catalogue), rtol=0, atol=1e-4
    )


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


def test_two_runs_with_one_seed_score_alike_and_another_seed_does_not(
    sample_catalogue: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    for seed in (1, 2):
        train(
            compose_config(
                [*TEXT_ONLY, f"data.root='{sample_catalogue}'", f"repository='{tmp_path}'", f"seed={seed}"]
            )
        )
    expected_BC = scores_of(uninterrupted, "fusion", sample_catalogue)
    np.testing.assert_allclose(
        scores_of(tmp_path, "fusion@1", sample_catalogue), expected_BC, rtol=0, atol=1e-4
    )
    assert np.abs(scores_of(tmp_path, "fusion@2", sample_catalogue) - expected_BC).max() > 1e-3


def test_a_version_keeps_its_configuration_its_split_and_its_card(
    sample_catalogue: Path, uninterrupted: Path
) -> None:
    folder = ModelRepository(uninterrupted).resolve("fusion").folder
    bundle = read_bundle(folder)
    assert bundle.manifest.config["text"]["num_bags"] == 2
    assert str(sample_catalogue) not in (folder / "bundle.json").read_text()
    split = json.loads((folder / "split.json").read_text())
    held_out = [row.product_id for row in read_catalogue(sample_catalogue) if row.split == "val"]
    assert sorted(split["val"]) == sorted(held_out)
    assert not set(split["val"]) & set(split["train"])
    card = (folder / "README.md").read_text()
    assert f"| weighted F1 | {bundle.metrics['weighted_f1']:.4f} |" in card
    assert "model=text text.num_bags=2" in card
    assert str(sample_catalogue.parent) not in card
    assert {
        "ece",
        "ece_before_calibration",
        "out_of_fold",
        "cascade",
        "snapshot",
        "by_modality",
    } <= bundle.metrics.keys()


def test_a_first_version_is_trained_where_there_is_none(
    uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("train", "--first", *TEXT_ONLY, "data.root=nowhere", f"repository='{uninterrupted}'")
    with pytest.raises(SystemExit) as nothing_to_do:
        cli.main(asked)
    assert nothing_to_do.value.code == 0
    assert "fusion@1 is there already" in capsys.readouterr().err
    with pytest.raises(SystemExit) as other_name:
        cli.main([*asked, "name=other", "run_dir=null"])
    assert other_name.value.code == 2
    assert "nowhere" in capsys.readouterr().err


def test_every_combination_of_a_multirun_is_a_version(sample_catalogue: Path, tmp_path: Path) -> None:
    finished = shelver_train(
        tmp_path,
        *("model=text", f"data.root={sample_catalogue}", "text.svm_weight=0", "fusion.num_folds=2"),
        *("text.dropout=0.2,0.6", "--multirun", "--json"),
    )
    runs = result_of(finished)["runs"]
    assert [run["model"] for run in runs] == ["fusion@1", "fusion@2"]
    assert [run["champion"] for run in runs] == [True, False]
    folders = sorted(path.parent for path in (tmp_path / "runs").rglob("config.yaml"))
    assert len(folders) == 2
    for folder, dropout in zip(folders, (0.2, 0.6), strict=True):
        assert f"dropout: {dropout}" in (folder / "config.yaml").read_text()
        assert list((folder / "tensorboard" / "text").glob("events.*"))
        assert (folder / "csv" / "text" / "metrics.csv").is_file()
        assert list((folder / "tensorboard" / "run").glob("events.*"))


def test_two_processes_train_one_version(sample_catalogue: Path, tmp_path: Path) -> None:
    result = result_of(
        shelver_train(
            tmp_path,
            *("model=text", f"data.root={sample_catalogue}", "fusion.num_folds=2", "--json"),
            *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "callbacks=checkpoint"),
        )
    )
    assert result["model"] == "fusion@1"
    assert result["weighted_f1"] > 0.5
    assert len(list((tmp_path / "repository" / "fusion").glob("[0-9]*"))) == 1


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["text.epohcs=3"], "epohcs"),
        (["data.split=random"], "it must be catalogue or drawn"),
        (["text.kind=gpt"], "it must be one of ngram_bag, embedding_bag, transformer, none"),
        (["text=none", "image=none"], "leave nothing to train"),
        (["--resume", ".", "seed=2"], "leave the rest out"),
        (["--resume", "nowhere"], "no run to go on with"),
        (["logger=mlflow", "logger.mlflow.run_nmae=x"], "run_nmae"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    sample_catalogue: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    fault: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = [] if "--resume" in arguments else [f"data.root={sample_catalogue}"]
    assert exit_code_of([*root, *arguments]) in (1, 2)
    told = capsys.readouterr().err
    assert fault in told
    assert "Traceback" not in told


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command in this process would set up logging for all tests after it."""
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)


def exit_code_of(arguments: Sequence[str]) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main(["train", *arguments])
    return left.value.code


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an interrupted run on `rows.jsonl` beside it."""
    monkeypatch.chdir(tmp_path)
    rows = [
        json.dumps({"product_id": number, "title": f"lampe {number}", "category": number % 2})
        for number in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(KeyboardInterrupt):
        train(compose_config([*ON_ROWS, INTERRUPT]))
    # Who interrupts the run is part of its configuration.
    config = tmp_path / "run" / "config.yaml"
    config.unlink()
    OmegaConf.save(compose_config(ON_ROWS), config)
    return tmp_path / "run"


def test_a_run_does_not_go_on_with_other_rows(interrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue = interrupted.with_name("rows.jsonl")
    catalogue.write_text(catalogue.read_text().rsplit("\n", 1)[0])
    assert exit_code_of(["--resume", "run"]) != 0
    assert "is not the one that the run" in capsys.readouterr().err


def test_a_folder_holds_one_run_which_ends_once(
    interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(ON_ROWS) == 1
    assert "go on with --resume, or choose another run_dir" in capsys.readouterr().err
    with run_folder(read_config(interrupted), resume=True):
        assert exit_code_of(["--resume", "run"]) == 1
    assert "a run is going on in" in capsys.readouterr().err
    assert exit_code_of(["--resume", "run"]) == 0
    assert exit_code_of(["--resume", "run"]) == 1
    assert "has ended with fusion@1" in capsys.readouterr().err
    assert len(list((interrupted.parent / "repository" / "fusion").glob("[0-9]*"))) == 1


@pytest.mark.parametrize("tuning", ["full", "last_layers", "frozen", "lora"])
def test_a_transformer_is_trained_and_served(sample_catalogue: Path, tmp_path: Path, tuning: str) -> None:
    source = tmp_path / "tiny"
    BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=100
    ).save_pretrained(source)
    train_text_model(
        sample_catalogue,
        tmp_path,
        *("text=transformer", f"text.source='{source}'", "text.weights=random", "text.tokenizer=catalogue"),
        *(f"text.tuning={tuning}", "text.vocabulary_size=600", "text.epochs=2", "text.learning_rate=0.002"),
    )


def test_an_embedding_bag_with_new_tokens_is_trained_and_served(
    sample_catalogue: Path, tmp_path: Path
) -> None:
    result = train_text_model(
        sample_catalogue,
        tmp_path,
        *("text=embedding_bag", "text.vocabulary_size=2000", "text.new_tokens=[Nintendo]", "text.epochs=15"),
    )
    assert result > 0.4
    folder = ModelRepository(tmp_path).resolve("fusion").folder
    assert '"nintendo"' in (folder / "tokenizer.json").read_text()


def train_text_model(catalogue: Path, folder: Path, *overrides: str) -> float:
    trained = train(
        compose_config(
            [
                *("image=none", "fusion.num_folds=2", *overrides),
                *(f"data.root='{catalogue}'", f"repository='{folder}'"),
            ]
        )
    )
    assert trained is not None
    probabilities_BC = scores_of(folder, "fusion", catalogue)
    rows = labelled_rows(catalogue)
    truth_B = trained.labels.indices([str(row.category) for row in rows])
    accuracy = float(np.mean(probabilities_BC.argmax(axis=1) == truth_B))
    # Served as it was measured.
    assert accuracy == pytest.approx(trained.evaluation.accuracy, abs=0.011)
    return accuracy


def test_what_is_odd_about_the_rows_is_said(tmp_path: Path) -> None:
    rows = [
        {"product_id": number, "title": f"lampe {chr(97 + number)}", "category": number % 2}
        for number in range(20)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "label_names.csv").write_text("prdtypecode,label_fr\n0,Lampes\n7,Livres\n")
    finished = shelver_train(
        tmp_path, "model=text", "data.root=rows.jsonl", "text.epochs=1", "fusion.num_folds=2", "logger=none"
    )
    assert finished.returncode == 0, finished.stderr
    assert "label_names names categories that no training row has: 7" in finished.stderr
    assert "label_names has no name for these categories: 1" in finished.stderr
    assert "fewer than 10 training rows have the category" in finished.stderr
