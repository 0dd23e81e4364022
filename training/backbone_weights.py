"""Where the weights of a backbone are found when no file is named."""

import logging
from pathlib import Path
from typing import Final

from models.image.backbones import RANDOM

__all__ = ["AUTO", "find_weights"]

logger = logging.getLogger(__name__)

AUTO: Final = "auto"
_FOLDER: Final = "weights"
_SUFFIXES: Final = (".safetensors", ".pth")
_LEVELS: Final = 4


def find_weights(setting: str | None, architecture: str, catalogue: Path) -> str:
    """What to fill a backbone with.

    `auto` looks for a file whose name starts with the architecture's in a folder `weights`, in the folder of
    the catalogue first and then in up to three above it; safetensors come before `.pth`, then names count.

    Args:
        setting: `auto`, `torchvision`, `random`, a file, or None for `random`.
        architecture: such as `mobilenet_v2`.
        catalogue: the catalogue's folder or file.

    Returns:
        A setting for `TorchvisionBackbone`; `random`, with a warning, where `auto` finds nothing.
    """
    if setting != AUTO:
        logger.info("the image backbone starts from %s weights", setting or RANDOM)
        return setting or RANDOM
    start = catalogue.absolute() if catalogue.is_dir() else catalogue.absolute().parent
    for folder in (start, *start.parents)[:_LEVELS]:
        files = [path for path in (folder / _FOLDER).glob(f"{architecture}*") if path.suffix in _SUFFIXES]
        if files:
            found = min(files, key=lambda path: (_SUFFIXES.index(path.suffix), path.name))
            logger.info("the image backbone starts from %s weights", found)
            return str(found)
    logger.warning(
        "no file %s* in a folder %s beside the catalogue or above it: the image backbone has random weights; "
        "real pictures need image.weights=FILE or image.weights=torchvision",
        architecture,
        _FOLDER,
    )
    return RANDOM
