"""The folder of one version as it lies on disk: what must be in it, and each file checked when it is read."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError

from models.errors import BundleError, ModelError
from models.files import open_plain_file, plain_files, read_plain_file
from models.labels import LabelSet
from models.manifest import Manifest, decode_json, open_manifest

__all__ = [
    "CARD_FILE",
    "GOLDEN_FILE",
    "LABELS_FILE",
    "MANIFEST_FILE",
    "METRICS_FILE",
    "SPLIT_FILE",
    "WEIGHTS_FILE",
    "VersionFiles",
    "faults_of",
    "parse_metrics",
    "read_card",
    "read_labels",
    "read_manifest",
    "read_metrics",
    "read_split",
]

MANIFEST_FILE: Final = "bundle.json"
WEIGHTS_FILE: Final = "model.safetensors"
LABELS_FILE: Final = "labels.json"
METRICS_FILE: Final = "metrics.json"
GOLDEN_FILE: Final = "golden.json"
CARD_FILE: Final = "README.md"
SPLIT_FILE: Final = "split.json"

_EVERY_VERSION_HAS: Final = frozenset({WEIGHTS_FILE, LABELS_FILE, METRICS_FILE, GOLDEN_FILE, CARD_FILE})
_SHOWN_NAMES: Final = 3
_SPLIT: Final = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """The files of a version; `sizes` is name -> bytes as found on disk, the manifest has been checked."""

    folder: Path
    manifest: Manifest
    sizes: Mapping[str, int]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Look at a folder and read its manifest; no other file is read.

        Raises:
            BundleError: there is no manifest, it is damaged, or the folder holds a link or a folder.
            OSError: the folder cannot be read.
        """
        sizes = plain_files(folder)
        if MANIFEST_FILE not in sizes:
            raise BundleError(
                f"{MANIFEST_FILE} is missing: this is no version, or one that is still being copied"
            )
        return cls(folder, open_manifest(read_plain_file(folder / MANIFEST_FILE)), sizes)

    def read(self, file_name: str) -> bytes:
        """The bytes of one file.

        Raises:
            BundleError: it is missing, cut or changed.
            OSError: it cannot be read.
        """
        self.check_size(file_name)
        data = read_plain_file(self.folder / file_name)
        self._check_digest(file_name, hashlib.sha256(data).hexdigest())
        return data

    def check(self, file_name: str) -> None:
        """Compare one file with the manifest, in pieces: it is never in memory as a whole.

        Raises:
            BundleError: it is missing, cut or changed.
            OSError: it cannot be read.
        """
        self.check_size(file_name)
        with open_plain_file(self.folder / file_name) as file:
            self._check_digest(file_name, hashlib.file_digest(file, "sha256").hexdigest())

    def check_size(self, file_name: str) -> None:
        """Compare the size of one file with the manifest; the file is not read.

        Raises:
            BundleError: it is missing, or of another size.
        """
        if file_name not in self.manifest.files or file_name not in self.sizes:
            raise BundleError(f"missing files: {file_name!r}")
        entry, size_bytes = self.manifest.files[file_name], self.sizes[file_name]
        if size_bytes != entry.size_bytes:
            raise BundleError(
                f"{file_name} has {size_bytes} bytes instead of {entry.size_bytes}: cut or replaced"
            )

    def check_listed(self) -> None:
        """Compare the names of the files with those in the manifest.

        Raises:
            BundleError: one is missing, or one is there that is not listed.
        """
        listed = self.manifest.files.keys()
        if MANIFEST_FILE in listed:
            raise BundleError(f"{MANIFEST_FILE} lists itself among the files of the version")
        if missing := listed - self.sizes.keys():
            raise BundleError(f"missing files: {_some(missing)}")
        if extra := self.sizes.keys() - listed - {MANIFEST_FILE}:
            raise BundleError(f"files that are not part of the version: {_some(extra)}")

    def read_all(self) -> dict[str, bytes]:
        """Name -> bytes of every file but the manifest.

        Raises:
            BundleError: a file is missing, added, cut or changed, or the folder is not this version's.
            OSError: a file cannot be read.
        """
        self._check_place()
        self._check_required()
        self.check_listed()
        return {file_name: self.read(file_name) for file_name in self.manifest.files}

    def _check_place(self) -> None:
        place = self.folder.absolute()
        in_repository = place.name.isdecimal() and place.parent.name == self.manifest.name
        if in_repository and place.name != self.manifest.version:
            raise BundleError(
                f"it is version {self.manifest.version} of {self.manifest.name!r}, copied to the place of "
                "another: a version keeps its number, publish a new one instead"
            )

    def _check_required(self) -> None:
        if unlisted := (_EVERY_VERSION_HAS | self.manifest.assets) - self.manifest.files.keys():
            raise BundleError(f"{MANIFEST_FILE} does not list {_some(unlisted)}, which it must have")

    def _check_digest(self, file_name: str, sha256: str) -> None:
        if sha256 != self.manifest.files[file_name].sha256:
            raise BundleError(f"{file_name} was changed after it was written: its sha256 differs")


def read_manifest(folder: Path) -> Manifest:
    """What a version says it is; only `bundle.json` is read and checked.

    Raises:
        BundleError: there is no version, or its manifest is damaged.
    """
    with faults_of(folder):
        return VersionFiles.open(folder).manifest


def read_metrics(folder: Path) -> dict[str, Any]:
    """How good a version was when it was written; only `bundle.json` and `metrics.json` are read and checked.

    Raises:
        BundleError: there is no version, or one of the two is damaged.
    """
    with faults_of(folder):
        return parse_metrics(VersionFiles.open(folder).read(METRICS_FILE))


def read_split(folder: Path) -> dict[str, list[str]]:
    """Side of the split -> product ids; only `bundle.json` and `split.json` are read and checked.

    Empty where the version does not keep it.

    Raises:
        BundleError: there is no version, or one of the two is damaged.
    """
    with faults_of(folder):
        files = VersionFiles.open(folder)
        if SPLIT_FILE not in files.manifest.files:
            return {}
        try:
            return _SPLIT.validate_python(decode_json(files.read(SPLIT_FILE), SPLIT_FILE), strict=True)
        except ValidationError as error:
            raise BundleError(f"{SPLIT_FILE} must hold lists of product ids, by side of the split") from error


def read_card(folder: Path) -> str:
    """The model card of a version, Markdown; only `bundle.json` and `README.md` are read and checked.

    Raises:
        BundleError: there is no version, or one of the two is damaged.
    """
    with faults_of(folder):
        return VersionFiles.open(folder).read(CARD_FILE).decode("utf-8", "replace")


def read_labels(folder: Path) -> LabelSet:
    """The categories of a version, in the order of its logits; only `bundle.json` and `labels.json` are read.

    Raises:
        BundleError: there is no version, or one of the two is damaged.
    """
    with faults_of(folder):
        return LabelSet.from_json(decode_json(VersionFiles.open(folder).read(LABELS_FILE), LABELS_FILE))


def parse_metrics(data: bytes) -> dict[str, Any]:
    """The object in the bytes of `metrics.json`.

    Raises:
        BundleError: they hold no JSON object.
    """
    metrics = decode_json(data, METRICS_FILE)
    if not isinstance(metrics, dict):
        raise BundleError(f"{METRICS_FILE} must hold one JSON object")
    return metrics


@contextmanager
def faults_of(folder: Path) -> Iterator[None]:
    """Name the folder in every fault, in one line, and make files that cannot be read a fault of the version.

    Raises:
        BundleError: the block raised a ModelError or an OSError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: there is no version, or it is being removed") from error
    except (ModelError, OSError) as error:
        raise BundleError(f"{folder}: {' '.join(str(error).split())}") from error


def _some(names: set[str] | frozenset[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in sorted(names)[:_SHOWN_NAMES])
    return f"{shown}, ..." if len(names) > _SHOWN_NAMES else shown
