"""torchvision's models without PyTorch's compiler, whose import takes longer than PyTorch's own.

torchvision 0.29 imports `torch._dynamo` (with sympy and the inductor: 850 modules, 5 s of processor time) for
a question that only the pooling of detectors asks. Here it is imported when somebody asks.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["get_model"]

_COMPILER = "torch._dynamo"


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    package, utils = ModuleType(_COMPILER), ModuleType(f"{_COMPILER}.utils")
    vars(utils)["is_compile_supported"] = _is_compile_supported
    stand_ins = {each.__name__: each for each in (package, utils)}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    """What torchvision asks, answered by the compiler itself."""
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))


with _compiler_put_off():
    from torchvision.models import get_model
