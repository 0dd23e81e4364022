"""`shelver evaluate` as people call it: what it prints, what it draws, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stream_app import cli


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command in this process would set up logging for all tests after it."""
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)


@pytest.fixture
def arguments(demo_repository: Path, sample_catalogue: Path) -> list[str]:
    return ["evaluate", "demo", str(sample_catalogue), "--repository", str(demo_repository)]


def run(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    return left.value.code


def report_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_report_has_every_score(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(arguments, capsys)
    keys = {"rows", "weighted_f1", "macro_f1", "accuracy", "ece", "by_modality", "per_class"}
    assert keys <= report.keys()
    assert sum(scores["rows"] for scores in report["by_modality"].values()) == report["rows"]
    assert set(report["selective_accuracy"]) == {"0.5", "0.8"}
    assert report["selective_accuracy"]["0.5"] >= report["accuracy"]
    assert report["unknown_categories"] == {}


def test_one_modality_alone_is_worth_less_than_both(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    both = report_of(arguments, capsys)
    for only, kind in (("text", "text"), ("image", "image")):
        alone = report_of([*arguments, "--only", only], capsys)
        assert set(alone["by_modality"]) == {kind}
        having = [scores["rows"] for name, scores in both["by_modality"].items() if kind in name.split("+")]
        assert alone["rows"] == sum(having)
        assert alone["weighted_f1"] < both["by_modality"]["text+image"]["weighted_f1"]


def test_a_cascade_leaves_pictures_of_certain_texts_out(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = report_of(arguments, capsys)
    assert "cascade" not in whole
    report = report_of([*arguments, "--cascade"], capsys)
    told = report["cascade"]
    assert 0 < told["skipped_pictures"] < told["pictured_rows"]
    rows = {name: scores["rows"] for name, scores in whole["by_modality"].items()}
    assert told["pictured_rows"] == rows["text+image"] + rows.get("image", 0)
    assert report["by_modality"]["text"]["rows"] == rows.get("text", 0) + told["skipped_pictures"]
    assert report["weighted_f1"] >= whole["weighted_f1"] - 0.002
    assert run([*arguments, "--cascade"]) == 0
    assert f"pictures skipped of {told['pictured_rows']}" in capsys.readouterr().out


def test_pictures_are_drawn_into_a_folder(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "scores"
    report_of([*arguments, "--pictures", str(folder)], capsys)
    assert {path.name for path in folder.iterdir()} == {"confusion.png", "reliability.png"}
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert picture.format == "PNG"


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_scored(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run([*arguments, "--pictures", str(tmp_path / "file" / "scores")]) != 0
    told = capsys.readouterr().err
    assert "pictures cannot be written there" in told
    assert "Traceback" not in told


def test_categories_that_the_model_does_not_know_are_named(
    demo_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"product_id": number, "title": "Lampe", "category": code}
        for number, code in enumerate([10, 9999, "x", "x"])
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    report = report_of(["evaluate", "demo", str(path), "--repository", str(demo_repository)], capsys)
    assert report["unknown_categories"] == {"9999": 1, "x": 2}
    assert report["unknown_rows"] == 3
    assert 10 not in report["absent_categories"]
    assert len(report["absent_categories"]) == len(report["per_class"]) - 1


def test_explanations_are_measured_beside_a_random_order_and_shap(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.explain import quality
    from stream_app.commands import evaluate

    monkeypatch.setattr(evaluate, "NUM_EXPLAINED_TEXTS", 25)
    monkeypatch.setattr(evaluate, "NUM_EXPLAINED_PICTURES", 2)
    monkeypatch.setattr(quality, "PIXEL_EVALUATIONS", 60)
    report = report_of([*arguments, "--explanations"], capsys)
    texts = {each["method"]: each for each in report["explanations"]["text"]}
    assert set(texts) == {
        "exact",
        "shap partition, 100 evaluations",
        "shap partition, 1000 evaluations",
        "random order",
    }
    exact, chance = texts["exact"], texts["random order"]
    assert exact["texts"] == 25
    assert exact["comprehensiveness"]["0.2"] > chance["comprehensiveness"]["0.2"]
    assert exact["sufficiency"]["0.2"] < chance["sufficiency"]["0.2"]
    assert abs(exact["shuffled_correlation"]) < 0.5
    assert exact["milliseconds"] < texts["shap partition, 1000 evaluations"]["milliseconds"]
    pictures = {each["method"]: each for each in report["explanations"]["image"]}
    assert set(pictures) == {"cells", "pixels, 60 evaluations", "random order"}
    for each in pictures.values():
        assert 0 <= each["deletion"] <= 1
        assert 0 <= each["insertion"] <= 1
    assert run([*arguments, "--explanations", "--limit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "Explanations of texts" in shown
    assert "Insertion" in shown
