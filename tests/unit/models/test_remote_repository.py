"""A repository behind a URL, as far as no server is needed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from models.cache_dir import default_cache_dir
from models.errors import RepositoryError
from models.repository import ModelRepository
from models.stores.base import without_secrets
from tests.contracts.repository import publish_stub


@pytest.fixture
def url() -> Iterator[str]:
    """A place in this process's memory."""
    yield "memory://shelver/models"
    fsspec.filesystem("memory").store.clear()


def test_any_store_of_fsspec_will_do(url: str, tmp_path: Path) -> None:
    repository = ModelRepository(url, cache_dir=tmp_path / "cache")
    assert repository.names() == ()
    assert [publish_stub(repository) for _ in range(2)] == ["1", "2"]
    for version in ("1", "2"):
        repository.promote(f"fusion@{version}", "champion")
    other = ModelRepository(url, cache_dir=tmp_path / "other")
    assert other.names() == ("fusion",)
    assert other.versions("fusion") == ("1", "2")
    assert other.resolve("fusion@champion").folder.is_relative_to(tmp_path / "other")
    assert other.rollback("fusion", "champion").version == "1"
    assert repository.resolve("fusion@champion").version == "1"


def test_copies_are_kept_in_the_users_cache_unless_told_otherwise(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    repository = ModelRepository(url)
    publish_stub(repository)
    assert repository.resolve("fusion").folder.is_relative_to(default_cache_dir() / "models" / "fusion")


def test_a_missing_library_is_told_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(RepositoryError, match=r"s3://bucket/models needs .*shelver\[s3\].*uv run --extra s3"):
        ModelRepository("s3://bucket/models")


@pytest.mark.parametrize("url", ["nowhere://bucket/models", "a b://c"])
def test_a_url_that_nobody_knows_is_told(url: str) -> None:
    with pytest.raises(RepositoryError, match="neither a folder nor a URL that fsspec knows"):
        ModelRepository(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/models", "s3://bucket/models"),
        ("ftp://ann:secret@host/models", "ftp://host/models"),
        ("https://host/models?X-Amz-Signature=secret&x=1", "https://host/models"),
        ("s3://user:p@ss@host/models", "s3://host/models"),
        ("no way to 'https://u:secret@host/a?secret', sorry", "no way to 'https://host/a', sorry"),
    ],
)
def test_users_passwords_and_signatures_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
