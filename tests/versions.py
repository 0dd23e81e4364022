"""Versions of a model with something changed in them, as sound by their digests as any other."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save

from models.manifest import FileEntry, open_manifest, seal_manifest
from models.version_files import MANIFEST_FILE, WEIGHTS_FILE


def replace_files(folder: Path, files: Mapping[str, bytes], **changes: object) -> None:
    """Put other files into a version, and other fields into its manifest, with digests that are right."""
    manifest = open_manifest((folder / MANIFEST_FILE).read_bytes())
    entries = {
        name: FileEntry(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    }
    changed = manifest.model_copy(update={"files": manifest.files | entries, **changes})
    for name, data in {**files, MANIFEST_FILE: seal_manifest(changed)}.items():
        (folder / name).unlink()
        (folder / name).write_bytes(data)


def copy_version(folder: Path, copy: Path) -> None:
    """Copy a version to the place of another, whose number it has from then on."""
    shutil.copytree(folder, copy)
    replace_files(copy, {}, version=copy.name)


def copy_with_nan(folder: Path, copy: Path) -> None:
    """Copy a version to the place of another, one of its weights not a number."""
    copy_version(folder, copy)
    weights = load((copy / WEIGHTS_FILE).read_bytes())
    name = max(weights, key=lambda each: weights[each].numel())
    weights[name] = torch.full_like(weights[name], torch.nan)
    replace_files(copy, {WEIGHTS_FILE: save(weights)})
