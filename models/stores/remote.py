"""Versions on anything that fsspec reaches, such as `s3://bucket/prefix`; read through local copies.

```
<root>/<name>/3/.claim        whose number 3 is: created only where it was not, so publishers never mix
<root>/<name>/3/...           the files of the version; `bundle.json` comes last and makes it one
<root>/<name>/aliases/champion
```

On stores without exclusive creation (S3 and its kin, Google Cloud and Azure have it) only one publisher at a
time is safe. Credentials, endpoints and proxies are the backend's own settings, from its environment.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

import fsspec

from models.errors import BundleError, ModelError, RepositoryError
from models.files import plain_files
from models.manifest import open_manifest
from models.stores.base import ALIASES_FOLDER, Listing, VersionStore, without_secrets
from models.stores.cache import VersionCache
from models.version_files import CARD_FILE, MANIFEST_FILE, METRICS_FILE, VersionFiles

__all__ = ["RemoteStore"]

CLAIM_FILE: Final = ".claim"
FILE_SECONDS: Final = 600.0
"""Longest time that one file of a version may take to come or go."""

REFUSED_SECONDS: Final = 60.0
"""How long a version that was fetched and is damaged is not fetched again: that takes all its bytes."""

_OUTLINE_FILES: Final = (METRICS_FILE, CARD_FILE)


class RemoteStore(VersionStore):
    """A root behind a URL; a version that this process has seen costs no request again."""

    _fault: ClassVar[type[Exception]] = Exception  # each backend has errors of its own

    def __init__(self, url: str, cache: VersionCache, timeout_seconds: float) -> None:
        """Look at a root; nothing is asked of the store yet.

        Args:
            url: what fsspec reads.
            cache: for copies of versions.
            timeout_seconds: the longest wait for anything small.

        Raises:
            RepositoryError: fsspec does not know the URL, or the library for it is missing.
        """
        super().__init__(without_secrets(url))
        self._cache = cache
        self._timeout_seconds = timeout_seconds
        self._seen: dict[tuple[str, str], tuple[Path, dict[str, int]]] = {}
        self._refused: dict[bytes, tuple[float, str]] = {}
        self._files, self._root = self._open(url)
        # s3fs asks for the size before it reads, to read in parts at once, unless told to read one by one.
        self._small_read = {"max_concurrency": 1} if "s3" in self._files.protocol else {}

    def names(self) -> list[str]:
        """As for every store."""
        with self._faults():
            self._files.invalidate_cache()
            try:
                entries = self._ask(self._files.ls, self._root, detail=True)
            except FileNotFoundError:
                return []
            return [PurePosixPath(each["name"]).name for each in entries if each["type"] == "directory"]

    def listing(self, name: str) -> Listing:
        """As for every store; costs one request, or one for each thousand files."""
        paths = [PurePosixPath(path).parts for path in self._sizes_below(name)]
        folders = {parts[0] for parts in paths if len(parts) > 1} - {ALIASES_FOLDER}
        return Listing(
            tuple(folders),
            tuple(parts[0] for parts in paths if parts[1:] == (MANIFEST_FILE,)),
            tuple(parts[1] for parts in paths if len(parts) == 2 and parts[0] == ALIASES_FOLDER),
        )

    def read_alias(self, name: str, alias: str) -> bytes:
        """As for every store."""
        return self._read(name, ALIASES_FOLDER, alias)

    def write_alias(self, name: str, alias: str, content: bytes) -> None:
        """As for every store."""
        with self._faults():
            self._write(self._path(name, ALIASES_FOLDER, alias), content)

    @contextmanager
    def staged(self, name: str, version: str) -> Iterator[Path]:
        """As for every store; the folder becomes the local copy of the version."""
        with self._cache.staged(name, version) as folder:
            yield folder
            self._upload(name, version, folder)

    def folder(self, name: str, version: str) -> Path:
        """As for every store; a version that this process has not seen costs one small read.

        It is fetched unless a sound copy is there.
        """
        seen = self._seen.get((name, version))
        if seen is not None and _is_untouched(*seen):
            return seen[0]
        folder = self._copy(name, version)
        self._seen[name, version] = (folder, plain_files(folder))
        return folder

    def outline(self, name: str, version: str) -> Path:
        """As for every store; costs a few small reads."""
        return self._copy(name, version, _OUTLINE_FILES)

    def _open(self, url: str) -> tuple[Any, str]:
        try:
            files, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            extra = "; install shelver[s3], or run `uv run --extra s3 shelver ...`"
            raise RepositoryError(
                f"repository {self.shown} needs a library that is missing: {error}"
                f"{extra if url.startswith('s3') else ''}"
            ) from error
        except Exception as error:  # each backend has errors of its own
            raise RepositoryError(
                f"repository {self.shown[:80]!r} is neither a folder nor a URL that fsspec knows: "
                f"{without_secrets(str(error))[:120]}"
            ) from error
        return files, str(root).rstrip("/")

    def _copy(self, name: str, version: str, files: Collection[str] | None = None) -> Path:
        sealed = self._read(name, version, MANIFEST_FILE)
        with _faults_of(f"{self.shown}/{name}/{version}"):
            manifest = open_manifest(sealed)
            if (manifest.name, manifest.version) != (name, version):
                raise BundleError(
                    f"it is version {manifest.version} of {manifest.name!r}, copied to the place of another"
                )
            refused = self._refused.get(sealed)
            if refused is not None and time.monotonic() < refused[0] + REFUSED_SECONDS:
                raise BundleError(refused[1])
            fetched: list[str] = []

            def fetch(folder: Path, wanted: Collection[str]) -> None:
                sizes = self._sizes_below(name, version)
                sizes.pop(CLAIM_FILE, None)
                found = VersionFiles(folder, manifest, sizes)
                found.check_listed()
                for file_name in wanted:
                    found.check_size(file_name)
                for file_name in wanted:
                    self._download(self._path(name, version, file_name), folder / file_name)
                    fetched.append(file_name)

            try:
                return self._cache.copy(name, version, sealed, fetch, files)
            except BundleError as error:
                if fetched:
                    self._refused[sealed] = (time.monotonic(), str(error))
                raise

    def _download(self, path: str, to: Path) -> None:
        with self._faults():
            self._ask(self._files.get_file, path, str(to), seconds=FILE_SECONDS)

    def _upload(self, name: str, version: str, folder: Path) -> None:
        self._claim(name, version)
        try:
            with self._faults():
                # The manifest last: it makes a version of the rest.
                for file_name in sorted(plain_files(folder), key=lambda each: each == MANIFEST_FILE):
                    path = self._path(name, version, file_name)
                    self._ask(self._files.put_file, str(folder / file_name), path, seconds=FILE_SECONDS)
        except BaseException:
            self._remove(name, version)
            raise

    def _claim(self, name: str, version: str) -> None:
        """Take a number, or find that it is taken.

        Raises:
            FileExistsError: it is.
        """
        path = self._path(name, version, CLAIM_FILE)
        with self._faults(FileExistsError):
            try:
                self._write(path, b"without bundle.json beside it this is no version\n", mode="create")
            except FileExistsError:
                raise
            except Exception as error:  # some stores refuse with another error that the file is there
                with suppress(Exception):
                    self._ask(self._files.cat_file, path)
                    raise FileExistsError(path) from error
                raise
        if self._sizes_below(name, version).keys() != {CLAIM_FILE}:
            self._remove_file(path)
            raise FileExistsError(path)

    def _remove(self, name: str, version: str) -> None:
        """Take back what was uploaded, as far as the store lets us; what it keeps is no version."""
        self._remove_file(self._path(name, version, MANIFEST_FILE))
        with suppress(Exception):
            for file_name in self._sizes_below(name, version):
                self._remove_file(self._path(name, version, file_name))

    def _remove_file(self, path: str) -> None:
        with suppress(Exception):
            self._ask(self._files.rm_file, path)

    def _read(self, *place: str) -> bytes:
        with self._faults(FileNotFoundError):
            content: bytes = self._ask(self._files.cat_file, self._path(*place), **self._small_read)
            return content

    def _write(self, path: str, content: bytes, mode: str = "overwrite") -> None:
        if not self._files.async_impl:  # object stores need no folders, and would make buckets
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._ask(self._files.pipe_file, path, content, mode=mode)

    def _sizes_below(self, *place: str) -> dict[str, int]:
        """Path below a place -> bytes, of every file there."""
        top = self._path(*place)
        with self._faults():
            self._files.invalidate_cache()
            try:
                found = self._ask(self._files.find, top, detail=True)
            except FileNotFoundError:
                return {}
            return {path.removeprefix(f"{top}/"): int(info["size"]) for path, info in found.items()}

    def _ask(
        self, method: Callable[..., Any], *arguments: object, seconds: float | None = None, **options: object
    ) -> Any:
        """Call the backend, with a limit of time where the backend can keep one."""
        limit = self._timeout_seconds if seconds is None else seconds
        if self._files.async_impl:
            options["timeout"] = limit
        try:
            return method(*arguments, **options)
        except TimeoutError as error:
            raise RepositoryError(
                f"repository {self.shown} does not answer: nothing came in {limit:g} s; is its address right?"
            ) from error

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))


def _is_untouched(folder: Path, sizes: dict[str, int]) -> bool:
    try:
        return plain_files(folder) == sizes
    except (ModelError, OSError):
        return False


@contextmanager
def _faults_of(place: str) -> Iterator[None]:
    """Name the place in every fault of a version."""
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{place}: {error}") from error
