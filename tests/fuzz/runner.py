"""Runs one fuzz target: libFuzzer, through atheris, follows which branches of our code an input takes.

`uv run --group fuzz python -m tests.fuzz.records --seconds 600` starts with inputs built in code, in a folder
that is thrown away, or in `--corpus FOLDER`, which also keeps what is found. An input that breaks a promise
is written to the working folder, and how to try it again is printed.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib import import_module
from pathlib import Path

__all__ = ["run"]

PROMISES = "tests.fuzz.promises"
INSTRUMENTED = ["schemas", "models", "stream_app", "PIL"]
SECONDS_PER_INPUT = 10
RSS_LIMIT_MB = 2_048


def run(name: str, promise: str, seeds: Callable[[], Iterable[bytes]]) -> None:
    """Do what the command line says: fuzz, or try one input again.

    Args:
        name: of the target's module.
        promise: the function of `tests.fuzz.promises` that raises when one is broken.
        seeds: makes the inputs to start with. What it needs of ours is imported when it is called: a module
            that is loaded too early is not followed.
    """
    options = _options(name)
    if options.input is not None:
        getattr(import_module(PROMISES), promise)(options.input.read_bytes())
        print(f"{options.input}: all promises are kept")
    elif options.guided is not None:
        _fuzz(promise, options.guided)
    else:
        sys.exit(_start(name, seeds(), options))


def _options(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("input", nargs="?", type=Path, help="try this input again")
    parser.add_argument("--seconds", type=int, default=600, help="how long to fuzz")
    parser.add_argument("--max-bytes", type=int, default=16_384, help="longest input")
    parser.add_argument("--corpus", type=Path, help="folder of inputs, kept")
    parser.add_argument("--guided", help=argparse.SUPPRESS)
    return parser.parse_args()


def _start(name: str, seeds: Iterable[bytes], options: argparse.Namespace) -> int:
    """Fuzz in a process of its own, which libFuzzer ends, and return its exit code."""
    with tempfile.TemporaryDirectory() as temporary:
        corpus = options.corpus or Path(temporary)
        corpus.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            if len(seed) <= options.max_bytes:
                (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
        guided = (
            f"-max_total_time={options.seconds}",
            f"-max_len={options.max_bytes}",
            f"-timeout={SECONDS_PER_INPUT}",
            f"-rss_limit_mb={RSS_LIMIT_MB}",
            f"-artifact_prefix={name}-",
            "-print_final_stats=1",
            str(corpus),
        )
        command = [sys.executable, "-m", name, f"--guided={','.join(guided)}"]
        code = subprocess.run(command, check=False).returncode
    if code:
        print(f"a promise is broken; try it again with: python -m {name} {name}-<kind>-<digest>")
    return code


def _fuzz(promise: str, guided: str) -> None:
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        promises = import_module(PROMISES)
    atheris.Setup([sys.argv[0], *guided.split(",")], getattr(promises, promise))
    atheris.Fuzz()
