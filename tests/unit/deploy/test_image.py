"""The Dockerfile: what an image must be, and that what it copies and sets is there."""

import json
import re
from pathlib import Path

import pytest

from stream_app.settings import PREFIX, Settings
from tests.deployment import DEPLOY, WRITABLE, exposed, image_environment, instructions, last, settings_of

PROJECT = DEPLOY.parent


def test_the_default_target_is_for_a_cpu_and_each_target_is_the_same_image_with_other_packages() -> None:
    starts = {stage: rest.split()[0] for stage, keyword, rest in instructions() if keyword == "FROM"}
    assert list(starts)[-1] == "cpu"
    assert starts["cpu"] == starts["cuda"] == "runtime"
    for target in ("cpu", "cuda"):
        assert last("COPY", target) == f"--from=packages-{target} /opt/shelver /opt/shelver"


def test_base_images_are_pinned_and_those_of_building_and_running_are_the_same() -> None:
    arguments = dict(rest.split("=", 1) for _, keyword, rest in instructions() if keyword == "ARG")
    starts = {rest.split()[0] for _, keyword, rest in instructions() if keyword == "FROM"}
    stages = {stage for stage, _, _ in instructions()}
    (base,) = starts - stages
    assert base == "python:${PYTHON}-slim-bookworm"
    assert re.fullmatch(r"3\.\d+", arguments["PYTHON"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", arguments["UV"])


def test_it_runs_as_nobody_in_particular_and_the_worker_gets_the_signals() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 1000
    assert int(group) > 1000
    assert json.loads(last("ENTRYPOINT")) == ["shelver"]
    assert json.loads(last("CMD")) == ["worker"]
    assert " CMD [" in last("HEALTHCHECK")


def test_its_settings_are_settings_and_health_is_asked_where_it_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of("worker", {}, monkeypatch)
    assert settings.metrics_host == "0.0.0.0"  # noqa: S104 - inside a container
    assert f"127.0.0.1:{settings.metrics_port}/healthz" in last("HEALTHCHECK")
    assert exposed() == {
        "worker": settings.metrics_port,
        "gateway": settings_of("gateway", {}, monkeypatch).gateway_port,
        "console": settings_of("console", {}, monkeypatch).console_port,
    }


def test_whatever_libraries_keep_goes_where_a_container_can_write() -> None:
    folders = {
        name: value
        for name, value in image_environment().items()
        if name.endswith(("_DIR", "_HOME", "HOME", "CONFIGDIR"))
    }
    assert len(folders) >= 7
    assert {name for name, value in folders.items() if not Path(value).is_relative_to(WRITABLE)} == set()


def test_everything_that_is_copied_exists_and_reaches_the_build() -> None:
    allowed = {
        line[1:].rstrip("/")
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    copied = {
        source
        for _, keyword, rest in instructions()
        if keyword == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((PROJECT / source).exists() for source in copied)


def test_what_is_installed_is_pinned() -> None:
    pinned = (PROJECT / "requirements.txt").read_text()
    installs = [rest for _, keyword, rest in instructions() if keyword == "RUN" and "uv pip install" in rest]
    for install in installs:
        assert "--constraint requirements.txt" in install or "--no-deps" in install
        if "pyproject.toml" in install:
            assert {"gateway", "console"} <= set(re.findall(r"--extra (\w+)", install))
    (pattern,) = re.findall(r"grep -oE '([^']+)' requirements.txt", " ".join(installs))
    chosen = re.findall(pattern, pinned, re.MULTILINE)
    assert sorted(chosen) == ["torch", "torchvision"]


def test_no_setting_of_the_image_is_the_default_again() -> None:
    defaults = {
        f"{PREFIX}{name.upper()}": str(field.default) for name, field in Settings.model_fields.items()
    }
    same = [name for name, value in image_environment().items() if defaults.get(name) == value]
    assert same == ["SHELVER_METRICS_PORT"]  # written down, since EXPOSE and HEALTHCHECK are about it
