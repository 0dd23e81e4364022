"""A version of another format is refused with what to do about it."""

import json
from pathlib import Path

import pytest

from models.bundle import read_bundle
from models.errors import BundleError
from models.manifest import FORMAT_VERSION
from tests.tiny_models import TINY_KINDS, write_tiny_bundle


@pytest.mark.parametrize(
    ("found", "remedy"), [(FORMAT_VERSION - 1, "train it again"), (FORMAT_VERSION + 1, "update Shelver")]
)
def test_another_format_is_named(found: int, remedy: str, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "1")
    manifest = tmp_path / "1" / "bundle.json"
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(document | {"format_version": found}))
    with pytest.raises(BundleError, match=f"is of format {found}, .*: {remedy}"):
        read_bundle(tmp_path / "1", kinds=TINY_KINDS)
