"""Every command for containers that the pages show: its files, services, options and values exist."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.deployment import CHART, COMPOSE, DEPLOY, compose_file, exposed, instructions, manifests
from tests.shelver_commands import parse

PROJECT = DEPLOY.parent
PAGES = (PROJECT / ".docs" / "deployment.md", CHART / "README.md")
OTHER_PAGES = (PROJECT / "README.md", PROJECT / ".docs" / "runbook.md")
COMPOSE_COMMENTS = re.findall(r"^# {3}(docker compose .*)$", COMPOSE.read_text(), re.MULTILINE)
DOCKERFILE_COMMENTS = re.findall(
    r"^# {3}(docker build .*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
)


def commands() -> Iterator[str]:
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            lines = block.replace("\\\n", " ").strip().splitlines()
            # Those of `shelver` itself are tried with those of all pages.
            yield from (line for line in lines if not line.startswith("uv run shelver "))
    for page in OTHER_PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        yield from (
            found.strip()
            for found in re.findall(r"^ *(?:docker compose|helm|kubectl) .*$", text, re.MULTILINE)
        )
    yield from (*COMPOSE_COMMENTS, *DOCKERFILE_COMMENTS)


def _build(words: list[str]) -> None:
    assert words[-1] == "."
    targets = {rest.rsplit(" AS ", 1)[1] for _, keyword, rest in instructions() if keyword == "FROM"}
    arguments = {rest.partition("=")[0] for _, keyword, rest in instructions() if keyword == "ARG"}
    for option, value in zip(words[:-1:2], words[1:-1:2], strict=True):
        match option:
            case "-f":
                assert (PROJECT / value).is_file()
            case "-t":
                assert value in {"shelver:cpu", "shelver:cuda"}
            case "--target":
                assert value in targets
            case "--build-arg":
                assert value.partition("=")[0] in arguments
            case _:
                raise AssertionError(option)


def _compose(words: list[str]) -> None:
    services = compose_file()["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", ())}
    while words[0] in ("-f", "--profile"):
        option, value, *words = words
        assert (PROJECT / value).is_file() if option == "-f" else value in profiles
    match words:
        case ["up", "--detach"]:
            pass
        case ["up", "--detach", "--scale", scaled]:
            assert scaled.partition("=")[0] in services
        case (
            ["restart", service]
            | ["logs", "--follow", service]
            | ["logs", "--tail", _, service]
            | ["ps", service]
        ):
            assert service in services
        case ["run", "--rm", "--env", variable, *rest]:
            assert variable == f"SHELVER_BROKER={services['worker']['environment']['SHELVER_BROKER']}"
            _compose(["run", "--rm", *rest])
        case ["run", "--rm", service, *command]:
            assert "entrypoint" not in services[service]
            parse(command)
        case ["exec", service, program, *_]:
            assert service in services
            # What they are told is checked with the rest of the runbook.
            assert program == "python" or program in services["topics"]["command"][-1]
        case _:
            raise AssertionError(words)


def _helm(words: list[str]) -> None:
    verb, release, chart, *options = words
    assert verb in ("install", "upgrade")
    assert (PROJECT / chart).samefile(CHART)
    if shutil.which("helm") is None:
        pytest.skip("Helm is not installed")
    done = subprocess.run(
        ["helm", "template", release, chart, "--kube-version", "1.34.0", *options],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _kubectl(words: list[str]) -> None:
    match words:
        case ["apply", "-f", file]:
            assert all(document["apiVersion"] for document in manifests((PROJECT / file).read_text()))
        case ["port-forward", "deployment/shelver", port]:
            assert port == str(exposed()["worker"])
        case ["port-forward", service, port]:
            assert service.removeprefix("service/shelver-") in exposed()
            assert port == str(exposed()[service.removeprefix("service/shelver-")])
        case ["create", "secret", "generic", name, "--from-file", keys, "--from-file", key]:
            values = yaml.safe_load((CHART / "values.yaml").read_text())
            assert (keys, key) == (
                values["gateway"]["keysSecret"]["key"],
                values["console"]["keySecret"]["key"],
            )
            assert f"name: {name}\n" in (CHART / "ci" / "gateway-values.yaml").read_text()
        case ["exec", "deployment/shelver", "--", "shelver", *command]:
            parse(command)
        case _:
            raise AssertionError(words)


KINDS: dict[str, Callable[[list[str]], None]] = {
    "docker build": _build,
    "docker compose": _compose,
    "helm": _helm,
    "kubectl": _kubectl,
}


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_it_can_be_typed(line: str) -> None:
    words = shlex.split(line, comments=True)
    while "=" in words[0]:
        name = words.pop(0).partition("=")[0]
        assert f"${{{name}:-" in COMPOSE.read_text(), name
    kind = next(kind for kind in KINDS if words[: len(kind.split())] == kind.split())
    KINDS[kind](words[len(kind.split()) :])


def test_enough_are_shown() -> None:
    assert len(set(commands())) > 15
    assert COMPOSE_COMMENTS
    assert DOCKERFILE_COMMENTS


def test_variables_of_the_compose_file_are_told() -> None:
    variables = set(re.findall(r"\$\{(\w+):-", COMPOSE.read_text()))
    page = PAGES[0].read_text(encoding="utf-8")
    comments = COMPOSE.read_text().partition("\nname:")[0]
    assert len(variables) > 5
    for name in variables:
        assert f"`{name}" in page, name
        assert name in comments, name


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), (page.name, link)
