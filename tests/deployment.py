"""What the files in `deploy/` say, read for tests."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from stream_app.settings import (
    PREFIX,
    ConsoleProcessSettings,
    EdgeSettings,
    Settings,
    load_console_settings,
    load_edge_settings,
    load_settings,
)

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
COMPOSE: Final = DEPLOY / "compose.yaml"
DOCKERFILE: Final = DEPLOY / "Dockerfile"
CHART: Final = DEPLOY / "helm" / "shelver"
WRITABLE: Final = "/tmp"  # noqa: S108 - of a container, the one folder that every one can write to

ALL_SETTINGS: Final = {
    **Settings.model_fields,
    **EdgeSettings.model_fields,
    **ConsoleProcessSettings.model_fields,
}
"""Of every process, by name."""
_LOADERS: Final = {"gateway": load_edge_settings, "console": load_console_settings}
_VARIABLE: Final = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")


def topics() -> set[str]:
    """The names of all topics, as the settings have them."""
    return {field.default for name, field in Settings.model_fields.items() if name.endswith("_topic")}


def compose_file(path: Path = COMPOSE, **environment: str) -> dict[str, Any]:
    """A compose file with its variables filled in, as far as this project uses them: ``${NAME:-default}``."""

    def filled(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        return environment.get(found["name"]) or found["default"] or ""

    # Variables stand in values, never in comments that could change the file's structure.
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    whole: dict[str, Any] = json.loads(_VARIABLE.sub(filled, json.dumps(document)))
    return whole


def own_services(compose: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The services of a compose file that run this project's image."""
    return {name: service for name, service in compose["services"].items() if "build" in service}


def instructions(path: Path = DOCKERFILE) -> list[tuple[str, str, str]]:
    """The instructions of a Dockerfile: stage, keyword and the rest, continued lines joined."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    stage, found = "", []
    for line in filter(None, joined.splitlines()):
        keyword, rest = line.split(maxsplit=1)
        if keyword == "FROM":
            stage = rest.rsplit(" AS ", 1)[1]
        found.append((stage, keyword, rest))
    return found


def last(keyword: str, stage: str = "runtime") -> str:
    """The instruction of a kind that counts in a stage of the image: the last one."""
    return [rest for place, word, rest in instructions() if (place, word) == (stage, keyword)][-1]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    values = [rest for stage, word, rest in instructions() if (stage, word) == ("runtime", "ENV")]
    return dict(pair.split("=", 1) for value in values for pair in value.split())


def exposed() -> dict[str, int]:
    """The port of each process that the image serves on."""
    ports = (int(port) for port in last("EXPOSE").split())
    return dict(zip(("worker", "gateway", "console"), ports, strict=True))


def settings_of(process: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a process of the image makes of its variables; those that a test has set do not count."""
    own = {
        name: value
        for name, value in {**image_environment(), **environment}.items()
        if name.startswith(PREFIX)
    }
    with monkeypatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        return _LOADERS.get(process, load_settings)(own)


def manifests(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML file that are not empty."""
    return [document for document in yaml.safe_load_all(text) if document]
