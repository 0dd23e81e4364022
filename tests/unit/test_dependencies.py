"""What `uv run pytest` installs on a fresh machine, where nobody names an extra."""

import re
import tomllib
from pathlib import Path
from typing import Any

PROJECT: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))


def test_developers_get_every_extra_as_the_tests_are_about_all_of_them() -> None:
    name = PROJECT["project"]["name"]
    developers = " ".join(PROJECT["dependency-groups"]["dev"])
    extras = re.search(rf"(?:^| ){name}\[([a-z0-9,]+)\](?: |$)", developers)
    assert extras is not None
    assert set(extras[1].split(",")) == set(PROJECT["project"]["optional-dependencies"])


def test_every_dependency_has_a_bound() -> None:
    named = [
        *PROJECT["project"]["dependencies"],
        *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
        *(each for group in PROJECT["dependency-groups"].values() for each in group),
    ]
    own = f"{PROJECT['project']['name']}["
    assert [each for each in named if not each.startswith(own) and not re.search(r"[>=]=", each)] == []
