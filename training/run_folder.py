"""The folder of a run: its configuration and what an interrupted run needs to go on.

```
config.yaml    the configuration          catalogue.json   which rows it learns from
version        what the run ended with
fits/          weights of fits that ended checkpoints/     where the fit that was interrupted stood
tensorboard/   csv/                       curves, pictures, hyperparameters
```
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from models.errors import ModelError
from models.files import replace_file
from schemas.errors import CatalogueError

__all__ = ["check_catalogue", "finish", "read_config", "run_folder"]

_CONFIG: Final = "config.yaml"
_CATALOGUE: Final = "catalogue.json"
_VERSION: Final = "version"
_LOCK: Final = ".lock"


@contextmanager
def run_folder(cfg: DictConfig, *, resume: bool) -> Iterator[Path | None]:
    """The folder of a run while it goes on, its configuration in it; None where nothing is to be kept.

    Raises:
        ModelError: another run is in the folder, or the run to go on with has ended.
    """
    if cfg.run_dir is None:
        yield None
        return
    folder = Path(cfg.run_dir).absolute()
    cfg.run_dir = str(folder)
    if getattr(rank_zero_only, "rank", 0):
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        _claim(folder, cfg, resume=resume)
        yield folder


def _claim(folder: Path, cfg: DictConfig, *, resume: bool) -> None:
    if (folder / _VERSION).is_file():
        ended = (folder / _VERSION).read_text(encoding="utf-8").strip()
        raise ModelError(f"the run in {folder} has ended with {ended}; start a new one in another folder")
    if (folder / _CONFIG).is_file() and not resume:
        raise ModelError(f"there is a run in {folder}: go on with --resume, or choose another run_dir")
    replace_file(folder / _CONFIG, OmegaConf.to_yaml(cfg).encode())


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes out; the lock goes with the process, however it ends."""
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(f"a run is going on in {folder}; choose another run_dir") from error
        yield


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
        replace_file(noted, json.dumps(dict(fingerprint), indent=2).encode() + b"\n")
    elif json.loads(noted.read_text(encoding="utf-8"))["sha256"] != fingerprint["sha256"]:
        raise CatalogueError(
            f"the catalogue is not the one that the run in {folder} began with; start a new run"
        )


def finish(folder: Path | None, version: str) -> None:
    """Note what the run ended with, and remove the weights of its single fits: the version holds them."""
    if folder is not None:
        replace_file(folder / _VERSION, f"{version}\n".encode())
        shutil.rmtree(folder / "fits", ignore_errors=True)
