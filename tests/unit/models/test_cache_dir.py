"""Where things are kept that need not be downloaded or computed twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.cache_dir import default_cache_dir


def test_the_cache_follows_the_desktop_convention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "shelver"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "shelver"


def test_the_embedded_kafka_finds_it_without_loading_torch() -> None:
    code = "import sys, stream_app.kafka_distribution; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
