"""Kafka's jars: one download, never a half one, no network afterwards."""

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_app import kafka_distribution
from stream_app.kafka_distribution import KAFKA_VERSION, MANIFEST, BrokerSetupError, kafka_jars


class FakeArtifact:
    """What jgo resolves: downloading it writes a jar."""

    def __init__(self, folder: Path, name: str, content: Callable[[Path], None]) -> None:
        self._path, self._content = folder / name, content

    def resolve(self) -> Path:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._content(self._path)
        return self._path


def write_jar(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("a.class", b"\xca\xfe\xba\xbe" * 100)


def write_damaged_jar(path: Path) -> None:
    write_jar(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf", 1))


def write_truncated_jar(path: Path) -> None:
    write_jar(path)
    path.write_bytes(path.read_bytes()[:-10])


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Resolving gives two jars; each entry of the list is one call."""
    return serve(monkeypatch, {"a.jar": write_jar, "b.jar": write_jar})


def serve(monkeypatch: pytest.MonkeyPatch, jars: dict[str, Callable[[Path], None]]) -> list[str]:
    calls: list[str] = []

    def resolve(repository: Path, _on_progress: object) -> list[FakeArtifact]:
        calls.append(str(repository))
        return [FakeArtifact(repository, name, content) for name, content in jars.items()]

    monkeypatch.setattr(kafka_distribution, "_resolve", resolve)
    return calls


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name != f"kafka-{KAFKA_VERSION}"]


def test_jars_are_downloaded_once(tmp_path: Path, downloads: list[str]) -> None:
    first = kafka_jars(tmp_path)
    assert [jar.name for jar in first] == ["a.jar", "b.jar"]
    assert kafka_jars(tmp_path) == first
    assert len(downloads) == 1
    assert leftovers(tmp_path) == []


def test_progress_counts_the_jars(tmp_path: Path, downloads: list[str]) -> None:
    told: list[tuple[str, int, int]] = []
    kafka_jars(tmp_path, lambda *step: told.append(step))
    assert told == [("a.jar", 1, 2), ("b.jar", 2, 2)]
    assert downloads


def test_a_second_use_loads_neither_resolver_nor_network(
    tmp_path: Path, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka_jars(tmp_path)
    monkeypatch.undo()
    for name in ("jgo", "jgo.maven", "requests"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(kafka_jars(tmp_path)) == 2
    assert downloads


@pytest.mark.parametrize("spoil", [Path.unlink, lambda jar: jar.write_bytes(b"")])
def test_a_cache_that_lost_something_is_loaded_again(
    tmp_path: Path, downloads: list[str], spoil: Callable[[Path], None]
) -> None:
    spoil(kafka_jars(tmp_path)[0])
    assert all(jar.stat().st_size for jar in kafka_jars(tmp_path))
    assert len(downloads) == 2


def test_a_cache_without_manifest_is_loaded_again(tmp_path: Path, downloads: list[str]) -> None:
    (kafka_jars(tmp_path)[0].parent / MANIFEST).unlink()
    assert len(kafka_jars(tmp_path)) == 2
    assert len(downloads) == 2


@pytest.mark.parametrize("content", [write_damaged_jar, write_truncated_jar])
def test_a_damaged_jar_is_refused_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Callable[[Path], None]
) -> None:
    serve(monkeypatch, {"a.jar": write_jar, "b.jar": content})
    with pytest.raises(BrokerSetupError, match="BadZipFile"):
        kafka_jars(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_message_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(BrokerSetupError, match=r"Kafka 4\.4\.0 is not in .* needs Maven Central") as caught:
        kafka_jars(tmp_path)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_cannot_be_made_is_the_same_error(tmp_path: Path, downloads: list[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerSetupError, match="XDG_CACHE_HOME"):
        kafka_jars(tmp_path / "file" / "cache")
    assert not downloads


def test_of_two_downloads_at_once_the_first_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, {"a.jar": write_jar})
    winner: list[Path] = []

    def overtaken(path: Path) -> None:
        write_jar(path)
        serve(monkeypatch, {"a.jar": write_jar})
        winner.extend(kafka_jars(tmp_path))

    serve(monkeypatch, {"a.jar": overtaken})
    inode_of_winner = kafka_jars(tmp_path)[0].stat().st_ino
    assert winner[0].stat().st_ino == inode_of_winner
    assert leftovers(tmp_path) == []
