"""The `shelver` commands that the pages show, as they are shown."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PAGES = (
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / ".docs").glob("*.md")),
    *sorted((PROJECT / "deploy").rglob("README.md")),
)

_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^ *(?:uv run (?:--extra \w+ )*)?(shelver .*?)(?: +#.*)?$", re.MULTILINE)


def shown_commands() -> tuple[str, ...]:
    """Each command of each page once, without `uv run` and remark."""
    found: dict[str, None] = {}
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            found.update(dict.fromkeys(_COMMAND.findall(block.replace("\\\n", " "))))
    return tuple(found)
