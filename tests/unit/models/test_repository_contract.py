"""The contract must fail on repositories that are wrong, or it proves nothing of one that passes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.repository import ModelLocation, ModelRepository, ModelSpec
from tests.contracts.repository import RepositoryContract


class WritesInPlace(ModelRepository):
    def publish(self, name: str, writer: Callable[[Path, str], object]) -> ModelLocation:
        version = self.next_version(name)
        folder = Path(self.root) / name / version
        folder.mkdir(parents=True)
        writer(folder, version)
        return ModelLocation(name, version, folder)


class SortsVersionsAsText(ModelRepository):
    def versions(self, name: str) -> tuple[str, ...]:
        return tuple(sorted(super().versions(name)))


class PromotesAnything(ModelRepository):
    def promote(self, spec: str | ModelSpec, alias: str) -> ModelLocation:
        wanted = ModelSpec.parse(str(spec))
        path = Path(self.root) / wanted.name / "aliases" / alias
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted.version or "1")
        return ModelLocation(wanted.name, wanted.version or "1", path)


class TrustsTheWriter(ModelRepository):
    def publish(self, name: str, writer: Callable[[Path, str], object]) -> ModelLocation:
        def write(folder: Path, version: str) -> None:
            writer(folder, version)
            (folder / "bundle.json").write_text("whatever")

        try:
            return super().publish(name, write)
        except Exception:
            return ModelLocation(name, "1", Path(self.root))


@pytest.mark.parametrize(
    ("wrong", "case"),
    [
        (WritesInPlace, RepositoryContract.test_a_version_is_not_there_until_it_is_whole),
        (WritesInPlace, RepositoryContract.test_a_writer_that_fails_leaves_nothing),
        (
            SortsVersionsAsText,
            RepositoryContract.test_a_version_is_found_by_number_by_alias_and_as_the_highest,
        ),
        (TrustsTheWriter, RepositoryContract.test_a_writer_that_writes_another_version_is_refused),
    ],
)
def test_a_wrong_repository_fails(
    tmp_path: Path, wrong: type[ModelRepository], case: Callable[[RepositoryContract, ModelRepository], None]
) -> None:
    case(RepositoryContract(), ModelRepository(tmp_path / "right"))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        case(RepositoryContract(), wrong(tmp_path / "wrong"))


@pytest.mark.parametrize("alias", ["a/b", "../up"])
def test_an_alias_that_leads_elsewhere_fails(tmp_path: Path, alias: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, OSError)):
        RepositoryContract().test_an_alias_cannot_be_a_path_a_version_or_the_latest(
            PromotesAnything(tmp_path), alias
        )
