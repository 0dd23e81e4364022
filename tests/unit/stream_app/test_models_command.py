"""`shelver models`: which versions may take the place of which, what is listed, what is sound."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.repository import ModelRepository
from stream_app import cli
from tests.small_models import publish_small

Models = Callable[..., Any]


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "repository")


@pytest.fixture
def models(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Models:
    """Run `shelver models ...`: its JSON, or the line that it ends with."""
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)

    def run(*arguments: object, code: int = 0) -> Any:
        command = ["models", *map(str, arguments), "--repository", repository.root, "--json"]
        with pytest.raises(SystemExit) as left:
            cli.main(command)
        told = capsys.readouterr()
        assert left.value.code == code, told
        return told.err.strip() if code and not told.out else json.loads(told.out.splitlines()[-1])

    return run


def write_rows(path: Path, num_rows: int, *, first: int = 0) -> Path:
    rows: Sequence[dict[str, str]] = [
        {"product_id": f"p-{number}", "title": title, "category": category}
        for number in range(first, first + num_rows)
        for title, category in [[("robot", "robots"), ("chaise", "chairs")][number % 2]]
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_the_first_version_of_an_alias_is_compared_with_none(
    models: Models, repository: ModelRepository
) -> None:
    publish_small(repository)
    assert models("promote", "small@1") == {
        "name": "small",
        "alias": "champion",
        "version": "1",
        "previous_version": None,
        "comparison": None,
    }
    assert models("promote", "small@1")["previous_version"] == "1"


@pytest.mark.parametrize(
    ("weighted_f1", "options"), [(0.95, []), (0.896, []), (0.895, []), (0.8, ["--tolerance", 0.1])]
)
def test_a_version_that_scores_about_as_well_is_promoted(
    models: Models, repository: ModelRepository, weighted_f1: float, options: Sequence[object]
) -> None:
    for score in (0.9, weighted_f1):
        publish_small(repository, weighted_f1=score)
    repository.promote("small@1", "champion")
    assert models("promote", "small@2", *options)["comparison"] == {
        "measured_on": "rows held out from both",
        "rows": 100,
        "weighted_f1": weighted_f1,
        "previous_weighted_f1": 0.9,
    }
    assert repository.history("small", "champion") == ("2", "1")


@pytest.mark.parametrize("options", [[], ["--tolerance", 0.004], ["--as", "production"]])
def test_a_version_that_scores_worse_is_refused_unless_forced(
    models: Models, repository: ModelRepository, options: Sequence[object]
) -> None:
    alias = "production" if "--as" in options else "champion"
    for score in (0.9, 0.894):
        publish_small(repository, weighted_f1=score)
    repository.promote("small@1", alias)
    told = models("promote", "small@2", *options, code=1)
    assert "small@2 scores worse than small@1: weighted F1 0.8940 instead of 0.9000 on 100 rows" in told
    assert len(told.splitlines()) == 1
    assert repository.history("small", alias) == ("1",)
    assert models("promote", "small@2", *options, "--force")["comparison"] is None
    assert repository.history("small", alias) == ("2", "1")


def test_a_challenger_may_be_worse(models: Models, repository: ModelRepository) -> None:
    for score in (0.9, 0.1):
        publish_small(repository, weighted_f1=score)
    repository.promote("small@1", "challenger")
    assert models("promote", "small@2", "--as", "challenger")["version"] == "2"


def test_versions_measured_on_other_rows_are_compared_on_a_catalogue(
    models: Models, repository: ModelRepository, tmp_path: Path
) -> None:
    learnt = [f"p-{number}" for number in range(20)]
    publish_small(repository, train=learnt[:10], weighted_f1=0.5)
    publish_small(repository, train=learnt[10:], held_out="b", swapped=True)
    publish_small(repository, train=learnt, held_out="c", weighted_f1=0.1)
    repository.promote("small@1", "champion")
    told = models("promote", "small@2", code=1)
    assert "were not measured on the same rows" in told
    assert "--data CATALOGUE" in told
    data = write_rows(tmp_path / "rows.jsonl", 80)
    told = models("promote", "small@2", "--data", data, code=1)
    assert "small@2 scores worse than small@1: weighted F1 0.0000 instead of 1.0000 on 60 rows" in told
    assert models("promote", "small@3", "--data", data)["comparison"]["rows"] == 60
    assert repository.history("small", "champion") == ("3", "1")


def test_a_catalogue_with_too_few_rows_that_nobody_has_learnt_from_is_told(
    models: Models, repository: ModelRepository, tmp_path: Path
) -> None:
    for held_out in "ab":
        publish_small(repository, train=["p-1", "p-2"], held_out=held_out)
    publish_small(repository, held_out="c")
    repository.promote("small@1", "champion")
    data = write_rows(tmp_path / "rows.jsonl", 51)
    assert "has 49 labelled rows that neither" in models("promote", "small@2", "--data", data, code=1)
    assert "does not say which rows it has learnt from" in models(
        "promote", "small@3", "--data", data, code=1
    )


def test_a_champion_that_is_damaged_or_gone_cannot_be_compared_with(
    models: Models, repository: ModelRepository
) -> None:
    for _ in range(2):
        location = publish_small(repository)
    repository.promote("small@1", "champion")
    damaged = location.folder.with_name("1") / "metrics.json"
    os.truncate(damaged, 3)
    told = models("promote", "small@2", code=1)
    assert "small@2 cannot be compared with small@1, which it would replace" in told
    assert "--force" in told
    (damaged.parent / "bundle.json").unlink()
    assert "there is no small@1" in models("promote", "small@2", code=1)
    assert models("promote", "small@2", "--force")["version"] == "2"


def test_a_damaged_version_is_neither_promoted_nor_gone_back_to(
    models: Models, repository: ModelRepository
) -> None:
    for version in ("1", "2"):
        location = publish_small(repository)
        repository.promote(f"small@{version}", "champion")
    weights = location.folder.with_name("1") / "model.safetensors"
    os.truncate(weights, 100)
    assert "cut or replaced" in models("rollback", "small", code=2)
    assert "cut or replaced" in models("promote", "small@1", "--force", code=2)
    assert repository.history("small", "champion") == ("2", "1")


def test_an_alias_goes_back_to_what_it_meant(models: Models, repository: ModelRepository) -> None:
    for version in ("1", "2"):
        publish_small(repository)
        repository.promote(f"small@{version}", "champion")
    assert models("rollback", "small") == {
        "name": "small",
        "alias": "champion",
        "version": "1",
        "previous_version": "2",
    }
    assert "nothing to go back to" in models("rollback", "small", code=2)
    assert "there is no small@production" in models("rollback", "small", "--as", "production", code=2)


def test_a_damaged_alias_is_mended_by_promoting_with_force_alone(
    models: Models, repository: ModelRepository
) -> None:
    publish_small(repository)
    repository.promote("small@1", "champion")
    path = Path(repository.root) / "small" / "aliases" / "champion"
    path.unlink()
    path.write_text("one")
    told = models("promote", "small@1", code=1)
    assert "nobody can tell which version small@champion means" in told
    assert "promote one with --force" in told
    assert path.read_text() == "one"
    assert models("promote", "small@1", "--as", "production")["version"] == "1"
    assert models("promote", "small@1", "--force")["previous_version"] is None
    assert repository.resolve("small@champion").version == "1"


def test_versions_are_listed_with_scores_and_damaged_ones_with_their_fault(
    models: Models, repository: ModelRepository
) -> None:
    for score in (0.9, 0.8):
        location = publish_small(repository, weighted_f1=score)
    repository.promote("small@1", "champion")
    os.truncate(location.folder / "metrics.json", 3)
    two, one = models("list")["versions"]
    assert (one["version"], one["aliases"], one["weighted_f1"], one["rows"]) == ("1", ["champion"], 0.9, 100)
    assert (two["version"], two["aliases"], two["weighted_f1"]) == ("2", [], None)
    assert "metrics.json has 3 bytes" in two["error"]
    assert models("show", "small@champion")["metrics"]["weighted_f1"] == 0.9
    sound = {result["version"]: result["sound"] for result in models("verify", code=1)["versions"]}
    assert sound == {"1": True, "2": False}
    assert models("verify", "small@champion")["versions"][0]["golden_difference"] < 1e-6
