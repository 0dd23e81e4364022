"""The commands of the compose file, under the constraints of their containers, do what they are there for."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stream_app.process_guard import guarded
from tests.deployment import compose_file, last, own_services
from tests.integration.containers import PATIENCE_SECONDS, Container, Machine, skip_without_namespaces

NUM_LISTINGS = 6
STRANGER = "12345"
"""A cluster may give a container any user id; this one has made no file and has no name."""

VOLUMES = ("catalogue", "weights", "repository", "runs", "keys", "trainings")
PROBE = """
import os, socket
refused = []
for name in ("/x", "/opt/x", "/repository/x", "/usr/x"):
    try: open(name, "w")
    except OSError: refused.append(name)
try: socket.create_connection(("192.0.2.1", 443), 1)
except OSError: refused.append("network")
open("/tmp/x", "w"); os.remove("/tmp/x")
print(*refused)
"""

ASK = """
import os, sys
from pathlib import Path
from urllib.request import Request, urlopen
key = Path(os.environ["SHELVER_CONSOLE_API_KEY_FILE"]).read_text().strip()
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
url = os.environ["SHELVER_CONSOLE_GATEWAY_URL"] + sys.argv[1]
data = sys.argv[2].encode() if len(sys.argv) > 2 else None
print(urlopen(Request(url, data, headers), timeout=60).read().decode())
"""
"""Asks the gateway as the console does: with its key, by its address."""


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return own_services(compose_file())


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("volumes")
    made = {name: folder / name for name in VOLUMES}
    for path in made.values():
        path.mkdir()
        # As a runtime does with the folders of the image.
        subprocess.run(["chown", "10001:10001", path], check=True)
    return made


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    skip_without_namespaces()
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="module")
def kafka_there(machine: Machine) -> Iterator[None]:
    """A Kafka where the compose file says that it is."""
    command = machine.inside(sys.executable, "-m", "stream_app", "broker", "--port", "19092")
    with subprocess.Popen(
        guarded(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "19092" in process.stdout.readline()
        yield
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.timeout(600)  # five programs one after the other, each with its own imports
@pytest.mark.usefixtures("kafka_there")
def test_from_an_empty_folder_to_categories(
    machine: Machine, services: dict[str, dict[str, Any]], volumes: dict[str, Path]
) -> None:
    machine.finish(services["catalogue"], "--products=60", volumes=volumes)
    trained = machine.finish(services["trainer"], "text.epochs=1", "image.epochs=1", volumes=volumes)
    assert "fusion@1 (champion)" in trained
    before = _contents(volumes["repository"])

    somebody_else = services["worker"] | {"user": f"{STRANGER}:{STRANGER}"}
    with machine.run(somebody_else, volumes=volumes) as worker:
        _wait_until_healthy(worker)
        _is_constrained(worker, STRANGER)
        published = machine.finish(
            services["listings"], "--explain", f"--limit={NUM_LISTINGS}", volumes=volumes
        )
        assert f"{NUM_LISTINGS} of {NUM_LISTINGS} listings confirmed" in published
        watched = worker.execute(
            "shelver", "watch", "--from-beginning", "--json-lines", f"--limit={2 * NUM_LISTINGS}"
        )
        kinds = Counter(json.loads(line)["kind"] for line in watched.stdout.splitlines())
        assert kinds == {"category-assigned": NUM_LISTINGS, "category-explained": NUM_LISTINGS}, watched
        kept = worker.files()
        # What explains pixels and transformers compiles as it is imported, and keeps that.
        shap = worker.execute("python", "-c", "import shap")
        assert shap.returncode == 0, shap.stderr
        _by_http_and_in_a_browser(machine, services, volumes)
        _stop(worker, services["worker"])
        assert json.loads(worker.output().splitlines()[-1])["message"] == "stopped"

    assert _contents(volumes["repository"]) == before
    assert sum(kept.values()) < 2**20, kept


def _by_http_and_in_a_browser(
    machine: Machine, services: dict[str, dict[str, Any]], volumes: dict[str, Path]
) -> None:
    """The gateway answers whoever has the key that was made for the console, which is there as well."""
    made = machine.finish(services["keys"], volumes=volumes)
    again = machine.finish(services["keys"], volumes=volumes)
    assert "has a new key" in made
    assert "has its key already" in again
    with (
        machine.run(services["gateway"], volumes=volumes) as gateway,
        machine.run(services["console"], volumes=volumes) as console,
    ):
        check = services["gateway"]["healthcheck"]["test"][1:]
        _wait_until(gateway, [part.replace("healthz", "readyz") for part in check])
        assert gateway.execute(*check).returncode == 0
        _wait_until(console, services["console"]["healthcheck"]["test"][1:])
        _is_constrained(console, services["console"]["user"].partition(":")[0])

        answer = _ask(console, "/v1/products", '{"product_id": "1", "title": "Lampe de chevet"}')
        assert answer["assigned"]["model"] == {"name": "fusion", "version": "1"}
        assert _ask(console, "/v1/training-runs")["catalogues"] == ["catalogue"]
        _stop(console, services["console"])
        _stop(gateway, services["gateway"])


def _ask(console: Container, *words: str) -> Any:
    asked = console.execute("python", "-c", ASK, *words)
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def _wait_until_healthy(worker: Container) -> None:
    """As a runtime does with the health check of the image; then until the topics are there."""
    check: list[str] = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    _wait_until(worker, check)
    _wait_until(worker, [part.replace("healthz", "readyz") for part in check])


def _wait_until(worker: Container, command: list[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (probe := worker.execute(*command)).returncode:
        assert worker.process.poll() is None, worker.output()
        assert time.monotonic() < deadline, probe.stderr
        time.sleep(0.5)


def _is_constrained(container: Container, user: str) -> None:
    assert container.status["Uid"].split() == [user] * 4
    assert container.status["NoNewPrivs"] == "1"
    assert {container.status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert container.execute("python", "-c", PROBE).stdout.split() == [
        "/x", "/opt/x", "/repository/x", "/usr/x", "network",
    ]  # fmt: skip


def _stop(container: Container, service: Mapping[str, Any]) -> None:
    """As a runtime does: SIGTERM to process 1, and no longer than its grace period."""
    os.kill(container.pid, signal.SIGTERM)
    grace_seconds = float(service["stop_grace_period"].removesuffix("s"))
    assert container.exit_code(seconds=grace_seconds) == 0, container.output()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
