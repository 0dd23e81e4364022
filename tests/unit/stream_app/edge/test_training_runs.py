"""What is told of training runs from the files that they write."""

import json
from pathlib import Path

import pytest

from stream_app.edge.problems import ProblemError
from stream_app.edge.training_options import StartTraining
from stream_app.edge.training_runs import RunState, TrainingRuns

ID = "20261130-101500-0123abcd"


def runs(folder: Path) -> TrainingRuns:
    return TrainingRuns(folder, {"shop": "/data/shop"}, ())


def written(folder: Path, identifier: str = ID, **fields: object) -> Path:
    run = folder / identifier
    run.mkdir(parents=True)
    told = {"id": identifier, "catalogue": "shop", "settings": {}, "started_at": "2026-11-30T10:15:00Z"}
    (run / "run.json").write_text(json.dumps(told | {"state": "running"} | fields))
    return run


async def test_a_run_of_a_gateway_before_this_one_was_interrupted(tmp_path: Path) -> None:
    written(tmp_path)
    known = runs(tmp_path)
    assert known.get(ID).state is RunState.INTERRUPTED
    with pytest.raises(ProblemError, match="has ended already"):
        await known.cancel(ID)
    await known.stop()


async def test_the_newest_run_comes_first_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    later = ID.replace("10", "11", 1)
    written(tmp_path)
    written(tmp_path, later, state="succeeded", exit_code=0)
    (tmp_path / "notes").mkdir()
    (written(tmp_path, ID.replace("abcd", "abce")) / "run.json").write_text("no JSON")
    assert [run.id for run in runs(tmp_path).list()] == [later, ID]
    assert runs(tmp_path / "nowhere").list() == []


@pytest.mark.parametrize(
    "identifier", ["", "..", "../x", "notes", ID.upper(), f"{ID}/..", "20261130-101500-0123abce"]
)
async def test_only_a_run_is_a_run(tmp_path: Path, identifier: str) -> None:
    written(tmp_path)
    for ask in (lambda: runs(tmp_path).get(identifier), lambda: runs(tmp_path).log(identifier, 10)):
        with pytest.raises(ProblemError, match="there is no training"):
            ask()


async def test_curves_are_read_also_while_they_are_written(tmp_path: Path) -> None:
    folder = written(tmp_path, state="running") / "run"
    for name, content in {
        "text": "epoch,step,train/loss,val/loss\n0,3,0.5,\n0,3,,0.7\n1,7,0.25,nan\n1,9,0.",
        "image": "",
        "run": "final/accuracy\n0.5\n",
    }.items():
        (folder / "csv" / name).mkdir(parents=True)
        (folder / "csv" / name / "metrics.csv").write_text(content)
    (folder / "fits").mkdir()
    (folder / "fits" / "image.safetensors").write_bytes(b"")
    fits = {fit.name: fit for fit in runs(tmp_path).get(ID).fits}
    assert (fits["text"].epoch, fits["text"].done) == (2, False)
    assert fits["text"].metrics[:2] == [
        {"epoch": 0, "step": 3, "train/loss": 0.5},
        {"epoch": 0, "step": 3, "val/loss": 0.7},
    ]
    assert fits["text"].metrics[2] == {"epoch": 1, "step": 7, "train/loss": 0.25}
    assert (fits["image"].epoch, fits["image"].done, fits["image"].metrics) == (0, True, [])
    assert set(fits) == {"text", "image"}


async def test_the_end_of_a_log_is_told(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert runs(tmp_path).log(ID, 10) == b""
    (folder / "log.txt").write_bytes(b"0123456789abc")
    assert runs(tmp_path).log(ID, 10) == b"3456789abc"


async def test_a_catalogue_that_is_not_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="there are: shop"):
        await runs(tmp_path).start(StartTraining(catalogue="other"))
    with pytest.raises(ProblemError, match="SHELVER_GATEWAY_CATALOGUES"):
        await TrainingRuns(tmp_path, {}, ()).start(StartTraining(catalogue="other"))
