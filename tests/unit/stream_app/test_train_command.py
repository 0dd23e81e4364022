"""`shelver train --first` and `shelver demo` find the version that is there, where they were told to look."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest
from rich.console import Console

from models.repository import ModelRepository
from stream_app import cli
from stream_app.commands.demo import trained_model
from tests.contracts.repository import write_stub

URL = "memory://shelver/first"


@pytest.fixture(autouse=True)
def published(tmp_path: Path) -> Iterator[None]:
    """Versions behind a URL, and no other cache for copies of them than the one that is asked for."""
    for name in ("fusion", "demo"):
        more = {"metrics.json": "{}", "README.md": "# Model"}
        repository = ModelRepository(URL, cache_dir=tmp_path / "publisher")
        repository.publish(name, partial(write_stub, name, more=more))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
        yield
    fsspec.filesystem("memory").store.clear()


def test_a_version_that_is_there_is_told_as_json_and_read_through_the_cache_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)
    monkeypatch.setenv("SHELVER_MODEL_CACHE", str(tmp_path / "set"))
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "--first", "--json", f"repository='{URL}'"])
    told = capsys.readouterr()
    assert left.value.code == 0, told
    assert json.loads(told.out) == {"model": "fusion@1", "trained": False}
    assert "fusion@1 is there already" in told.err
    assert (tmp_path / "set" / "fusion").is_dir()
    assert not (tmp_path / "user" / "shelver").exists()


def test_the_demo_reads_its_model_through_the_cache_that_is_asked_for(tmp_path: Path) -> None:
    model = trained_model(URL, tmp_path / "set", tmp_path, Console(quiet=True))
    assert model.folder.is_relative_to(tmp_path / "set")
