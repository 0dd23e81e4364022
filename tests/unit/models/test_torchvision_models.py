"""torchvision without PyTorch's compiler, until somebody asks for it."""

import subprocess
import sys

SCRIPT = """
import sys
import models.image.backbones
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
from torchvision.ops import roi_align
told = sys.modules[roi_align.__module__].is_compile_supported("cpu")
from torch._dynamo.utils import is_compile_supported
assert told == is_compile_supported("cpu")
assert "sympy" in sys.modules
"""


def test_the_compiler_is_imported_when_it_is_asked_and_answers_itself() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
