"""What the page of the gateway shows."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / ".docs" / "gateway.md"

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def shown_requests() -> tuple[str, ...]:
    """Each request with curl, on one line, in order."""
    lines = "".join(_BLOCK.findall(PAGE.read_text(encoding="utf-8"))).replace("\\\n", " ").splitlines()
    return tuple(line for line in lines if line.startswith("curl "))
