"""Apache Kafka's jars on this machine: downloaded once from Maven Central, then read from a folder."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.cache_dir import default_cache_dir
from schemas.errors import ShelverError

KAFKA_VERSION = "4.4.0"
# Kafka brings the logging interface SLF4J 1.7 but nothing behind it; the simple one writes to standard error.
COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
MANIFEST = "jars.txt"

DownloadProgress = Callable[[str, int, int], None]
"""Called with a file name, the number of jars done and of all jars (0 while it is not known yet)."""


class BrokerError(ShelverError):
    """The embedded Kafka did not start, or has ended; the message holds the end of its log."""


class BrokerSetupError(BrokerError, ValueError):
    """The embedded Kafka cannot be had as asked: no download, no free port, no writable folder."""


def kafka_jars(cache_dir: Path | None = None, on_progress: DownloadProgress | None = None) -> list[Path]:
    """The class path of Kafka, complete and checked by size; no network once it has been downloaded.

    The first call downloads 45 MB in about 20 s. Several processes may do so at once: the first wins.

    Args:
        cache_dir: folder for downloads; ``default_cache_dir()`` when None.
        on_progress: called before each file of a download.

    Raises:
        BrokerSetupError: the jars are not there and cannot be downloaded or stored.
    """
    folder = (cache_dir or default_cache_dir()) / f"kafka-{KAFKA_VERSION}"
    jars = _complete_jars(folder)
    if jars:
        return jars
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".kafka-") as staging:
            _download(Path(staging), on_progress or (lambda *_: None))
            _put_in_place(Path(staging) / "jars", folder)
    except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise BrokerSetupError(
            f"Kafka {KAFKA_VERSION} is not in {folder} and could not be downloaded ({reason}). The first"
            " start needs Maven Central and a writable cache folder (XDG_CACHE_HOME); later starts need no"
            " network. Or use a Kafka of your own: SHELVER_BROKER=kafka://host:9092."
        ) from error
    return _complete_jars(folder)


def _complete_jars(folder: Path) -> list[Path]:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return []
    entries = [line.split() for line in manifest.read_text().splitlines()]
    jars = [folder / name for name, _ in entries]
    complete = all(
        jar.is_file() and jar.stat().st_size == int(size)
        for jar, (_, size) in zip(jars, entries, strict=True)
    )
    return jars if complete else []


def _download(staging: Path, on_progress: DownloadProgress) -> None:
    """Resolve the coordinates with jgo and leave every jar and the manifest in ``staging / "jars"``."""
    artifacts = _resolve(staging / "maven", on_progress)
    target = staging / "jars"
    target.mkdir()
    lines = []
    with ThreadPoolExecutor(max_workers=8) as downloads:
        paths = downloads.map(lambda artifact: artifact.resolve(), artifacts)
        for done, path in enumerate(paths, start=1):
            on_progress(path.name, done, len(artifacts))
            _check_jar(path)
            lines.append(f"{path.name} {path.stat().st_size}\n")
            path.replace(target / path.name)
    (target / MANIFEST).write_text("".join(lines))


def _resolve(repository: Path, on_progress: DownloadProgress) -> list[Any]:
    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def report(name: str, _size: int) -> Iterator[Callable[[int], None]]:
        if name.endswith(".pom"):
            on_progress(name, 0, 0)
        yield lambda _num_bytes: None

    context = MavenContext(resolver=PythonResolver(progress_callback=report), repo_cache=repository)
    wanted = [context.create_dependency(coordinate) for coordinate in COORDINATES]
    direct, transitive = context.resolver.resolve(wanted)
    needed = [dependency for dependency in transitive if dependency.scope in ("compile", "runtime")]
    return [dependency.artifact for dependency in [*direct, *needed]]


def _check_jar(path: Path) -> None:
    with zipfile.ZipFile(path) as jar:
        damaged = jar.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{path.name}: {damaged} is damaged")


def _put_in_place(jars: Path, folder: Path) -> None:
    if folder.exists() and not _complete_jars(folder):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        jars.rename(folder)
    except OSError:
        # Another process was faster; its jars are as good as ours.
        if not _complete_jars(folder):
            raise
