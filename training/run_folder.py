"""The folder of a run: its configuration and what an interrupted run needs to go on.

```
config.yaml    the configuration          catalogue.json   which rows it learns from
fits/          weights of fits that ended checkpoints/     where the fit that was interrupted stood
tensorboard/   csv/                       curves, pictures, hyperparameters
```
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from models.errors import ModelError
from models.files import replace_file
from schemas.errors import CatalogueError

__all__ = ["check_catalogue", "clear_progress", "open_run_folder", "read_config"]

_CONFIG: Final = "config.yaml"
_CATALOGUE: Final = "catalogue.json"


def open_run_folder(cfg: DictConfig) -> Path | None:
    """The folder of a run, with its configuration in it; None where nothing is to be kept."""
    if cfg.run_dir is None:
        return None
    folder = Path(cfg.run_dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    cfg.run_dir = str(folder)
    _write(folder / _CONFIG, OmegaConf.to_yaml(cfg))
    return folder


def read_config(folder: Path) -> DictConfig:
    """The configuration of a run that is to go on.

    Raises:
        ModelError: there is no run in the folder, or its configuration cannot be read.
    """
    try:
        cfg = OmegaConf.load(folder / _CONFIG)
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: no run to go on with, it has no {_CONFIG}") from error
    except (OSError, OmegaConfBaseException, ValueError) as error:
        raise ModelError(f"{folder / _CONFIG} cannot be read: {str(error)[:200]}") from error
    if not isinstance(cfg, DictConfig):
        raise ModelError(f"{folder / _CONFIG} is not the configuration of a run")
    cfg.run_dir = str(folder)
    return cfg


def check_catalogue(folder: Path | None, fingerprint: Mapping[str, Any]) -> None:
    """Note which rows the run learns from, or make sure that they are still the same.

    Raises:
        CatalogueError: the run began with other rows.
    """
    if folder is None:
        return
    noted = folder / _CATALOGUE
    if not noted.is_file():
        _write(noted, json.dumps(dict(fingerprint), indent=2) + "\n")
    elif json.loads(noted.read_text(encoding="utf-8"))["sha256"] != fingerprint["sha256"]:
        raise CatalogueError(
            f"the catalogue is not the one that the run in {folder} began with; start a new run"
        )


@rank_zero_only
def clear_progress(folder: Path | None) -> None:
    """Remove the weights of the single fits: the version that was made of them holds all there is."""
    if folder is not None:
        shutil.rmtree(folder / "fits", ignore_errors=True)


@rank_zero_only
def _write(path: Path, text: str) -> None:
    replace_file(path, text.encode())
