"""The table of values in the chart's README, made of the comments of values.yaml.

`python -m tests.unit.deploy.values_table` prints it.
"""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.deployment import CHART

MARK = "# -- "


def values_table() -> str:
    """Markdown: value, default, meaning."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = [
        f"| `{'.'.join(path)}` | `{json.dumps(_at(defaults, path))}` | {meaning} |"
        for path, meaning in documented()
    ]
    return "\n".join(["| value | default | what |", "| --- | --- | --- |", *rows])


def documented() -> Iterator[tuple[tuple[str, ...], str]]:
    """Each value that a comment describes, with what it says."""
    parents: list[str] = []
    meaning = ""
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith(MARK):
            meaning = text.removeprefix(MARK)
        elif text and not text.startswith(("#", "-")) and ":" in text:
            depth = (len(line) - len(line.lstrip())) // 2
            parents = [*parents[:depth], text.partition(":")[0]]
            if meaning:
                yield tuple(parents), meaning
            meaning = ""


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values[name]
    return values


if __name__ == "__main__":
    print(values_table())
