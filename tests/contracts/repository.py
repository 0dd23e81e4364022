"""What every repository of models keeps to, however it stores them."""

import multiprocessing
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import pytest

from models.errors import BundleError, RepositoryError
from models.manifest import FileEntry, Manifest, seal_manifest
from models.repository import ModelRepository

Open = Callable[[Path], ModelRepository]


def write_stub(
    name: str,
    folder: Path,
    version: str,
    *,
    payload: str = "",
    more: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """The least that a repository takes for a version: a sealed manifest, and some payload beside it."""
    files = {file: text.encode() for file, text in {"payload": payload, **more}.items()}
    manifest = Manifest.create(
        name=name,
        version=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        codes=[1],
        text=None,
        image=None,
        files={
            file: FileEntry(size_bytes=len(content), sha256=sha256(content).hexdigest())
            for file, content in files.items()
        },
        data_fingerprint={},
        config={},
        libraries={},
    )
    for file, content in files.items():
        (folder / file).write_bytes(content)
    (folder / "bundle.json").write_bytes(seal_manifest(manifest))


def publish_stub(repository: ModelRepository, name: str = "fusion") -> str:
    return repository.publish(name, partial(write_stub, name)).version


def publish_many(
    open_repository: Open, root: Path, publisher: int, num_versions: int
) -> list[tuple[str, str]]:
    """What one of several publishing processes does: (version, payload) of each that it published."""
    repository = open_repository(root)
    published = []
    for turn in range(num_versions):
        payload = f"{publisher}-{turn}"
        location = repository.publish("fusion", partial(write_stub, "fusion", payload=payload))
        published.append((location.version, payload))
    return published


class RepositoryContract:
    """Inherit, and set `open_repository` to something that can be sent to another process.

    Where each step takes long, fewer of them show as much.
    """

    open_repository: Open
    num_publishers = 4
    num_versions = 6
    num_promotions = 100

    @pytest.fixture
    def repository(self, tmp_path: Path) -> ModelRepository:
        return type(self).open_repository(tmp_path / "repository")

    def test_an_empty_repository_has_no_models(self, repository: ModelRepository) -> None:
        assert repository.names() == ()
        assert repository.versions("fusion") == ()
        assert repository.next_version("fusion") == "1"

    def test_versions_count_up_and_each_model_counts_for_itself(self, repository: ModelRepository) -> None:
        assert [publish_stub(repository) for _ in range(11)] == [str(number) for number in range(1, 12)]
        assert publish_stub(repository, "text-only") == "1"
        assert repository.names() == ("fusion", "text-only")
        assert repository.versions("fusion")[-3:] == ("9", "10", "11")

    def test_a_version_is_not_there_until_it_is_whole(self, repository: ModelRepository) -> None:
        def write(folder: Path, version: str) -> None:
            write_stub("fusion", folder, version)
            assert repository.versions("fusion") == ()
            assert repository.names() == ()
            with pytest.raises(RepositoryError):
                repository.resolve(f"fusion@{version}")

        repository.publish("fusion", write)
        assert repository.versions("fusion") == ("1",)

    def test_a_writer_that_fails_leaves_nothing(self, repository: ModelRepository) -> None:
        def write(folder: Path, version: str) -> None:
            write_stub("fusion", folder, version)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            repository.publish("fusion", write)
        assert repository.versions("fusion") == ()
        assert publish_stub(repository) == "1"

    def test_a_writer_that_writes_no_version_is_refused(self, repository: ModelRepository) -> None:
        with pytest.raises(BundleError, match=r"bundle\.json is missing"):
            repository.publish("fusion", lambda folder, _version: (folder / "note").write_text("nothing"))
        assert repository.versions("fusion") == ()

    def test_a_writer_that_writes_another_version_is_refused(self, repository: ModelRepository) -> None:
        with pytest.raises(RepositoryError, match=r"fusion@9, it was to be fusion@1"):
            repository.publish("fusion", lambda folder, _version: write_stub("fusion", folder, "9"))
        assert repository.versions("fusion") == ()

    def test_a_version_is_found_by_number_by_alias_and_as_the_highest(
        self, repository: ModelRepository
    ) -> None:
        for _ in range(10):
            publish_stub(repository)
        repository.promote("fusion@3", "champion")
        assert repository.resolve("fusion@2").version == "2"
        assert repository.resolve("fusion@champion").version == "3"
        assert repository.resolve("fusion").version == "10"
        assert repository.resolve("fusion@latest").version == "10"
        assert (repository.resolve("fusion@champion").folder / "bundle.json").is_file()

    def test_an_alias_moves_and_moves_back(self, repository: ModelRepository) -> None:
        publish_stub(repository)
        publish_stub(repository)
        for version in ("1", "2", "1"):
            assert repository.promote(f"fusion@{version}", "champion").version == version
            assert repository.aliases("fusion") == {"champion": version}
        assert repository.promote("fusion@champion", "challenger").version == "1"

    def test_an_alias_goes_back_step_by_step(self, repository: ModelRepository) -> None:
        for _ in range(3):
            publish_stub(repository)
        for version in ("1", "2", "2", "3", "1"):
            repository.promote(f"fusion@{version}", "champion")
        assert repository.history("fusion", "champion") == ("1", "3", "2", "1")
        for version in ("3", "2"):
            assert repository.rollback("fusion", "champion").version == version
            assert repository.resolve("fusion@champion").version == version
        repository.promote("fusion@3", "champion")
        assert repository.history("fusion", "champion") == ("3", "2", "1")

    def test_there_is_an_end_to_going_back(self, repository: ModelRepository) -> None:
        publish_stub(repository)
        with pytest.raises(RepositoryError, match="there is no fusion@champion"):
            repository.rollback("fusion", "champion")
        repository.promote("fusion@1", "champion")
        with pytest.raises(RepositoryError, match="no version before 1, so there is nothing to go back to"):
            repository.rollback("fusion", "champion")
        assert repository.resolve("fusion@champion").version == "1"

    @pytest.mark.parametrize("spec", ["other", "other@1", "fusion@7", "fusion@challenger"])
    def test_what_is_not_there_is_named_with_what_is(self, repository: ModelRepository, spec: str) -> None:
        publish_stub(repository)
        repository.promote("fusion@1", "champion")
        with pytest.raises(RepositoryError, match=r"there is no .*(models there: fusion|aliases: champion)"):
            repository.resolve(spec)
        with pytest.raises(RepositoryError, match=r"there is no"):
            repository.promote(spec, "champion")
        assert repository.resolve("fusion@champion").version == "1"

    @pytest.mark.parametrize(
        "alias", ["latest", "3", "", ".", "..", "../up", "a/b", "a\\b", ".hidden", "a\n", "x" * 65]
    )
    def test_an_alias_cannot_be_a_path_a_version_or_the_latest(
        self, repository: ModelRepository, alias: str
    ) -> None:
        publish_stub(repository)
        with pytest.raises(RepositoryError, match="cannot be an alias"):
            repository.promote("fusion@1", alias)
        assert repository.aliases("fusion") == {}

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../up", "/etc", "a/b", "a\\b", ".hidden", "a b", "é", "a\n", "x" * 65]
    )
    def test_a_name_cannot_be_a_path(self, repository: ModelRepository, name: str) -> None:
        written: list[Path] = []
        with pytest.raises(RepositoryError):
            repository.publish(name, lambda folder, _version: written.append(folder))
        with pytest.raises(RepositoryError):
            repository.resolve(name)
        with pytest.raises(RepositoryError):
            repository.versions(name)
        assert written == []

    def test_publishing_processes_never_collide(self, tmp_path: Path) -> None:
        root, num_publishers, num_versions = tmp_path / "repository", self.num_publishers, self.num_versions
        with ProcessPoolExecutor(
            num_publishers, mp_context=multiprocessing.get_context("spawn")
        ) as processes:
            publishing = [
                processes.submit(publish_many, type(self).open_repository, root, publisher, num_versions)
                for publisher in range(num_publishers)
            ]
            published = dict(pair for each in publishing for pair in each.result())
        repository = type(self).open_repository(root)
        assert repository.versions("fusion") == tuple(map(str, range(1, num_publishers * num_versions + 1)))
        for version, payload in published.items():
            folder = repository.resolve(f"fusion@{version}").folder
            assert (folder / "payload").read_text() == payload

    def test_readers_never_see_an_alias_between_two_versions(self, repository: ModelRepository) -> None:
        publish_stub(repository)
        publish_stub(repository)
        repository.promote("fusion@1", "champion")
        done = threading.Event()
        seen: list[str] = []

        def read() -> None:
            while not done.is_set():
                seen.append(repository.resolve("fusion@champion").version)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for turn in range(self.num_promotions):
            repository.promote(f"fusion@{1 + turn % 2}", "champion")
        done.set()
        for reader in readers:
            reader.join()
        assert repository.resolve("fusion@champion").version == "2"
        assert set(seen) == {"1", "2"}
