"""A repository behind a URL, on an S3-compatible server: the contract, copies, faults, requests made."""

import gc
import json
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest

from models.errors import BundleError, RepositoryError
from models.repository import ModelRepository
from models.stores import remote
from models.stores.cache import KEPT_VERSIONS
from tests.contracts.repository import RepositoryContract, publish_stub, write_stub
from tests.object_store import BUCKET, ObjectStore

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with pytest.MonkeyPatch.context() as patch, ObjectStore().serving() as store:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3").mkdir(BUCKET)
        gc.freeze()  # the server's many objects are none that a test here could leak
        yield store
        gc.unfreeze()


def url_of(path: Path) -> str:
    return f"s3://{BUCKET}{path}"


def open_remote(path: Path) -> ModelRepository:
    return ModelRepository(url_of(path), cache_dir=path / "cache")


@pytest.mark.usefixtures("server")
class TestRemoteRepository(RepositoryContract):
    open_repository = staticmethod(open_remote)
    num_publishers = 2
    num_versions = 2
    num_promotions = 10


@pytest.fixture
def publisher(server: ObjectStore, tmp_path: Path) -> ModelRepository:
    """On another machine than `worker`."""
    server.requests.clear()
    return ModelRepository(url_of(tmp_path), cache_dir=tmp_path / "publisher")


@pytest.fixture
def worker(publisher: ModelRepository, tmp_path: Path) -> ModelRepository:
    return worker_of(publisher, tmp_path)


def worker_of(publisher: ModelRepository, tmp_path: Path) -> ModelRepository:
    return ModelRepository(publisher.root, cache_dir=tmp_path / "worker")


def publish_large(repository: ModelRepository, size: int = 200_000) -> str:
    return repository.publish("fusion", partial(write_stub, "fusion", payload="x" * size)).version


def uploads(server: ObjectStore) -> list[str]:
    return [path.rsplit("/", 1)[1] for verb, path in map(str.split, server.requests) if verb == "PUT"]


def downloads(server: ObjectStore) -> list[str]:
    return [path.rsplit("/", 1)[1] for verb, path in map(str.split, server.requests) if verb == "GET"]


def test_a_version_is_claimed_first_and_its_manifest_comes_last(
    publisher: ModelRepository, server: ObjectStore
) -> None:
    publish_large(publisher)
    assert uploads(server) == [".claim", "payload", "bundle.json"]


def test_following_an_alias_costs_one_small_read_while_nothing_changes(
    publisher: ModelRepository, worker: ModelRepository, server: ObjectStore
) -> None:
    publish_large(publisher)
    publisher.promote("fusion@1", "champion")
    first = worker.resolve("fusion@champion")
    server.requests.clear()
    assert [worker.resolve("fusion@champion") for _ in range(3)] == [first] * 3
    assert downloads(server) == ["champion"] * 3
    assert len(server.requests) == 3
    publish_large(publisher)
    publisher.promote("fusion@2", "champion")
    server.requests.clear()
    assert worker.resolve("fusion@champion").version == "2"
    assert downloads(server).count("payload") == 1


def test_a_copy_is_kept_for_the_next_process(
    publisher: ModelRepository, worker: ModelRepository, server: ObjectStore, tmp_path: Path
) -> None:
    publish_large(publisher)
    folder = worker.resolve("fusion@1").folder
    server.requests.clear()
    assert worker_of(publisher, tmp_path).resolve("fusion@1").folder == folder
    assert downloads(server) == ["bundle.json"]


def cut(folder: Path) -> None:
    os.truncate(folder / "payload", 1_000)


def changed(folder: Path) -> None:
    (folder / "payload").chmod(0o644)
    (folder / "payload").write_text("y" * 200_000)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        changed,
        lambda folder: (folder / "payload").unlink(),
        lambda folder: (folder / "bundle.json").unlink(),
        lambda folder: (folder / "more").touch(),
        lambda folder: (folder / "more").symlink_to("/etc/passwd"),
        lambda folder: folder.rename(folder.with_name("away")),
    ],
    ids=["cut", "changed", "file gone", "manifest gone", "file more", "link", "gone"],
)
def test_a_damaged_copy_is_fetched_anew(
    publisher: ModelRepository, worker: ModelRepository, tmp_path: Path, damage: Damage
) -> None:
    publish_large(publisher)
    folder = worker.resolve("fusion@1").folder
    damage(folder)
    again = worker_of(publisher, tmp_path).resolve("fusion@1").folder
    assert {path.name: path.stat().st_size for path in again.iterdir()} == {
        "payload": 200_000,
        "bundle.json": (folder / "bundle.json").stat().st_size,
    }
    assert (again / "payload").read_text() == "x" * 200_000
    assert not [path for path in again.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("damage", [cut, lambda folder: (folder / "payload").unlink()])
def test_a_copy_damaged_while_a_process_knows_it_is_fetched_anew(
    publisher: ModelRepository, worker: ModelRepository, damage: Damage
) -> None:
    publish_large(publisher)
    damage(worker.resolve("fusion@1").folder)
    assert (worker.resolve("fusion@1").folder / "payload").stat().st_size == 200_000


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("payload", b"x" * 1_000, "payload has 1000 bytes instead of 200000: cut or replaced"),
        ("payload", b"y" * 200_000, "payload was changed after it was written"),
        ("payload", None, "missing files: 'payload'"),
        ("weights.pkl", b"\x80\x04.", r"files that are not part of the version: 'weights\.pkl'"),
        ("bundle.json", b"", r"bundle\.json is not readable JSON"),
    ],
    ids=["cut", "changed", "half copied", "file more", "empty manifest"],
)
def test_a_version_that_is_damaged_where_it_is_kept_is_refused_whole(
    publisher: ModelRepository, worker: ModelRepository, file: str, content: bytes | None, fault: str
) -> None:
    publish_large(publisher)
    place = f"{publisher.root}/fusion/1/{file}"
    files, path = fsspec.core.url_to_fs(place)
    if content is None:
        files.rm_file(path)
    else:
        files.pipe_file(path, content)
    with pytest.raises(BundleError, match=fault) as refused:
        worker.resolve("fusion@1")
    assert publisher.root in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_version_that_was_fetched_in_vain_is_not_fetched_again_at_once(
    publisher: ModelRepository, worker: ModelRepository, server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_large(publisher)
    files, path = fsspec.core.url_to_fs(f"{publisher.root}/fusion/1/payload")
    sound = files.cat_file(path)
    files.pipe_file(path, b"y" * len(sound))
    server.requests.clear()
    told = set()
    for _ in range(3):
        with pytest.raises(BundleError, match="payload was changed after it was written") as refused:
            worker.resolve("fusion@1")
        told.add(str(refused.value))
    assert len(told) == 1
    assert downloads(server).count("payload") == 1
    files.pipe_file(path, sound)
    monkeypatch.setattr(remote, "REFUSED_SECONDS", 0.0)
    assert (worker.resolve("fusion@1").folder / "payload").read_bytes() == sound


def test_a_version_copied_to_the_place_of_another_is_refused(
    publisher: ModelRepository, worker: ModelRepository
) -> None:
    publish_large(publisher)
    files, path = fsspec.core.url_to_fs(f"{publisher.root}/fusion")
    for file in ("payload", "bundle.json"):
        files.cp_file(f"{path}/1/{file}", f"{path}/2/{file}")
    with pytest.raises(BundleError, match="version 1 of 'fusion', copied to the place of another"):
        worker.resolve("fusion@2")


def test_an_outline_fetches_no_weights(
    publisher: ModelRepository, worker: ModelRepository, server: ObjectStore
) -> None:
    more = {"metrics.json": "{}", "README.md": "# Fusion"}
    publisher.publish("fusion", partial(write_stub, "fusion", payload="weights", more=more))
    server.requests.clear()
    folder = worker.outline("fusion").folder
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "bundle.json", "metrics.json"]
    assert "payload" not in downloads(server)
    assert (worker.resolve("fusion").folder / "payload").read_text() == "weights"


def test_an_upload_that_fails_leaves_nothing(
    publisher: ModelRepository, worker: ModelRepository, server: ObjectStore
) -> None:
    server.refused = "PUT", "bundle.json"
    try:
        with pytest.raises(RepositoryError, match=r"s3://.* cannot be used"):
            publish_large(publisher)
    finally:
        server.refused = None
    files, path = fsspec.core.url_to_fs(f"{publisher.root}/fusion")
    files.invalidate_cache()
    assert files.find(path) == []
    assert publish_large(publisher) == "1"
    assert worker.versions("fusion") == ("1",)


def test_a_number_that_somebody_took_is_not_used(publisher: ModelRepository, worker: ModelRepository) -> None:
    offered: list[str] = []

    def write(folder: Path, version: str) -> None:
        offered.append(version)
        if len(offered) == 1:
            publish_stub(worker)
        write_stub("fusion", folder, version, payload="slow")

    assert publisher.publish("fusion", write).version == "2"
    assert offered == ["1", "2"]
    assert (worker.resolve("fusion@1").folder / "payload").read_text() == ""
    assert (worker.resolve("fusion@2").folder / "payload").read_text() == "slow"


def test_a_number_whose_files_somebody_copied_there_is_not_used(
    publisher: ModelRepository, worker: ModelRepository
) -> None:
    files, path = fsspec.core.url_to_fs(f"{publisher.root}/fusion/1/notes")

    def write(folder: Path, version: str) -> None:
        files.pipe_file(path, b"mine")
        write_stub("fusion", folder, version)

    assert publisher.publish("fusion", write).version == "2"
    assert files.cat_file(path) == b"mine"
    assert worker.versions("fusion") == ("2",)


def test_old_copies_make_room(publisher: ModelRepository, worker: ModelRepository) -> None:
    for _ in range(KEPT_VERSIONS + 2):
        publish_stub(publisher)
    for version in publisher.versions("fusion"):
        folder = worker.resolve(f"fusion@{version}").folder
    copies = sorted(path.name.split("-")[0] for path in folder.parent.iterdir())
    assert copies == list(publisher.versions("fusion")[2:])


def test_commands_take_a_url(
    publisher: ModelRepository,
    server: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Listing reads no weights; promoting, going back and verifying do."""
    from stream_app import cli
    from tests.small_models import publish_small

    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)
    monkeypatch.setenv("SHELVER_MODEL_REPOSITORY", publisher.root)
    monkeypatch.setenv("SHELVER_MODEL_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as left:
            cli.main(["models", *arguments, "--json"])
        told = capsys.readouterr()
        assert left.value.code == 0, told
        return json.loads(told.out.splitlines()[-1])

    for weighted_f1 in (0.8, 0.9):
        publish_small(publisher, weighted_f1=weighted_f1)
    server.requests.clear()
    assert [each["weighted_f1"] for each in run("list")["versions"]] == [0.9, 0.8]
    assert run("show", "small")["metrics"]["weighted_f1"] == 0.9
    assert "model.safetensors" not in downloads(server)
    assert run("promote", "small@1")["comparison"] is None
    assert run("promote", "small@2")["comparison"]["previous_weighted_f1"] == 0.8
    assert run("rollback", "small")["version"] == "1"
    assert [each["sound"] for each in run("verify")["versions"]] == [True, True]
    assert downloads(server).count("model.safetensors") == 2


@pytest.mark.usefixtures("server")
def test_a_bucket_that_is_not_there_is_told(tmp_path: Path) -> None:
    nowhere = ModelRepository("s3://no-such-bucket/models", cache_dir=tmp_path)
    with pytest.raises(RepositoryError, match="there is no model 'fusion' in s3://no-such-bucket/models"):
        nowhere.resolve("fusion@champion")
    with pytest.raises(RepositoryError, match="s3://no-such-bucket/models cannot be used"):
        publish_stub(nowhere)


@pytest.mark.usefixtures("server")
def test_a_store_that_does_not_answer_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are taken and never answered, as behind a wrong address or a firewall."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        fsspec.filesystem("s3").clear_instance_cache()
        repository = ModelRepository("s3://silent/models", cache_dir=tmp_path, timeout_seconds=0.5)
        with pytest.raises(RepositoryError, match=r"does not answer: nothing came in 0\.5 s") as told:
            repository.resolve("fusion@champion")
    assert "not-so-secret" not in str(told.value)
    fsspec.filesystem("s3").clear_instance_cache()


def test_a_disk_without_room_for_copies_is_told(publisher: ModelRepository, tmp_path: Path) -> None:
    publish_large(publisher)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RepositoryError, match=r"versions cannot be kept in .*file"):
        ModelRepository(publisher.root, cache_dir=tmp_path / "file").resolve("fusion@1")
