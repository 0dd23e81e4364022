"""Where everything is kept that need not be downloaded or computed twice."""

import os
from pathlib import Path

__all__ = ["default_cache_dir"]


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/shelver``, or ``~/.cache/shelver``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shelver"
