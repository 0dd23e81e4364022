"""The table of known failures names tests that exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
CASES = TESTS.parent / ".docs" / "cases.md"


def test_every_test_that_the_table_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::([\w:]+)`", CASES.read_text(encoding="utf-8"))
    assert len(named) > 40
    missing = [f"{file}::{name}" for file, name in named if name not in _tests_in(TESTS / file)]
    assert not missing


def _tests_in(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{name}" for name in _functions(node.body)}
        found |= _functions([node])
    return found


def _functions(nodes: list[ast.stmt]) -> set[str]:
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
