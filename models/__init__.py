"""What turns a product into scores and reasons; knows no Kafka, no HTTP and no Hydra.

The names below are what other rooms use. Each is imported from its module when it is first asked for, so
`import models` loads neither torch nor Pillow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.bundle import Bundle, BundleMetadata, read_bundle, verify_bundle, write_bundle
    from models.evaluation import Evaluation, evaluate
    from models.fusion import FusionCalibration, FusionNetwork
    from models.golden import pick_golden_products
    from models.inputs import PreparedBatch, Product, Scores
    from models.labels import Label, LabelSet
    from models.preprocessing import Preprocessor
    from models.repository import ModelLocation, ModelRepository, ModelSpec
    from models.runtime import Classifier, resolve_device

__all__ = [
    "Bundle",
    "BundleMetadata",
    "Classifier",
    "Evaluation",
    "FusionCalibration",
    "FusionNetwork",
    "Label",
    "LabelSet",
    "ModelLocation",
    "ModelRepository",
    "ModelSpec",
    "PreparedBatch",
    "Preprocessor",
    "Product",
    "Scores",
    "evaluate",
    "pick_golden_products",
    "read_bundle",
    "resolve_device",
    "verify_bundle",
    "write_bundle",
]

_MODULES = {
    "models.bundle": ("Bundle", "BundleMetadata", "read_bundle", "verify_bundle", "write_bundle"),
    "models.evaluation": ("Evaluation", "evaluate"),
    "models.fusion": ("FusionCalibration", "FusionNetwork"),
    "models.golden": ("pick_golden_products",),
    "models.inputs": ("PreparedBatch", "Product", "Scores"),
    "models.labels": ("Label", "LabelSet"),
    "models.preprocessing": ("Preprocessor",),
    "models.repository": ("ModelLocation", "ModelRepository", "ModelSpec"),
    "models.runtime": ("Classifier", "resolve_device"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
