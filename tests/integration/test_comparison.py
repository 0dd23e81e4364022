"""The table that compares ways to classify, on the sample catalogue."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from training import comparison


def test_every_way_is_trained_and_measured_on_the_same_rows(
    sample_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "SHELVER", ("Shelver", ("experiment=demo",)))
    small = ("image.architecture=resnet18", "image.weights=random", "image.image_size=64", "image.epochs=2")
    original = ("model=original", "image=frozen", "text.tokenizer=catalogue", *small)
    monkeypatch.setattr(comparison, "ORIGINAL", ("original", original))
    app = typer.Typer()
    app.command()(comparison.main)
    result = CliRunner().invoke(app, [str(sample_catalogue), "--json"])
    assert result.exit_code == 0, result.output
    *table, record = [line for line in result.stdout.splitlines() if line.startswith(("|", "{"))]
    contenders = {each["name"]: each for each in json.loads(record)["contenders"]}
    assert list(contenders) == ["original", comparison.SVM, "Shelver"]
    assert len(table) == 2 + len(contenders)
    titles = ("", "weighted F1", "text rows", "text+image rows", "ECE", "trained in", "on disk", "rows/s")
    assert table[0] == f"| {' | '.join(titles)} |"
    assert {line.count("|") for line in table} == {len(titles) + 1}
    shelver, svm = contenders["Shelver"], contenders[comparison.SVM]
    assert f"| {shelver['weighted_f1']:.3f} |" in table[-1]
    assert shelver["weighted_f1"] > svm["weighted_f1"] > 0.5
    assert svm["ece"] is None
    for each in contenders.values():
        assert min(each["training_seconds"], each["size_bytes"], each["rows_per_second"]) > 0
