"""Each alert has its entry in the runbook, each entry its alert, and what is named there exists."""

import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import typer
import yaml

from deploy.grafana import build
from stream_app.cli import app
from stream_app.settings import EdgeSettings, Settings
from tests.shelver_commands import parse

TEXT = build.RUNBOOK_FILE.read_text("utf-8")
ENTRIES = build.runbook_entries(TEXT)
GROUPS = yaml.safe_load(build.ALERTS_FILE.read_text("utf-8"))["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
COMMANDS = [
    line.strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
] + [
    " ".join(span.split())
    for span in re.findall(r"`((?:kafka-[a-z-]+\.sh|shelver|curl|docker) [^`]*)`", TEXT)
]

KAFKA = {
    "kafka-topics.sh": "--bootstrap-server --describe --alter --topic --partitions",
    "kafka-consumer-groups.sh": "--bootstrap-server --describe --group --members --state --topic"
    " --reset-offsets --to-offset --execute",
    "kafka-console-consumer.sh": "--bootstrap-server --topic --partition --offset --max-messages",
}
"""Options of Kafka 4.4's own commands; they are in none of its jars that the tests have."""


def test_each_alert_has_an_entry_and_each_entry_an_alert() -> None:
    assert list(ENTRIES) == build.alert_names()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_tells_how_bad_it_is_what_happened_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")
    expected = "{{ $externalLabels.grafana }}" + build.runbook_link(rule["alert"])
    assert rule["annotations"]["runbook_url"] == expected


@pytest.mark.parametrize("alert", ENTRIES)
def test_an_entry_says_what_it_means_what_to_look_at_and_what_to_do(alert: str) -> None:
    parts = [ENTRIES[alert].find(f"**{part}.**") for part in ("Means", "Look at", "Do")]
    assert -1 < parts[0] < parts[1] < parts[2]


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("shelver ")])
def test_a_command_of_ours_is_one_with_the_options_it_has(command: str) -> None:
    words = shlex.split(command)[1:]
    if words == ["--version"]:
        assert "--version" in {name for each in typer.main.get_command(app).params for name in each.opts}
        return
    parse(words)


def test_commands_of_kafka_have_the_options_they_have() -> None:
    programs = [each.rpartition("/opt/kafka/bin/")[2] for each in COMMANDS]
    used = [shlex.split(each) for each in programs if each.startswith("kafka-")]
    assert {words[0] for words in used} == set(KAFKA)
    for name, *words in used:
        assert {word for word in words if word.startswith("--")} <= set(KAFKA[name].split())


def test_every_command_is_of_a_known_kind() -> None:
    assert {each.split()[0] for each in COMMANDS} == {"shelver", "curl", "docker", "kubectl", *KAFKA}
    assert {each for each in COMMANDS if each.startswith("curl")} == {
        *(f"curl -s http://127.0.0.1:9102/{path}" for path in ("healthz", "readyz", "metrics")),
        *(f"curl -s http://127.0.0.1:8000/{path}" for path in ("healthz", "readyz")),
    }


def test_what_stands_for_curl_prints_the_answer_of_a_worker_that_is_not_ready() -> None:
    (command,) = (each for each in COMMANDS if "python -c" in each)
    with HTTPServer(("127.0.0.1", 0), _NotReady) as server:
        threading.Thread(target=server.handle_request).start()
        code = shlex.split(command)[-1].replace("9102", str(server.server_port))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "/readyz says why\n"


class _NotReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(f"{self.path} says why".encode())

    def log_message(self, *_: object) -> None:
        pass


def test_settings_that_are_named_exist() -> None:
    named = set(re.findall(r"SHELVER_(\w+)", TEXT))
    assert named <= {name.upper() for name in Settings.model_fields | EdgeSettings.model_fields}


def test_panels_and_pages_that_are_named_exist() -> None:
    pages = build.built()
    titles = {page["title"].removeprefix("Shelver / ") for page in pages.values()}
    titles |= {panel["title"] for page in pages.values() for panel in page["panels"]}
    assert {" ".join(name.split()) for name in re.findall(r'"([A-Z][^"]+)"', TEXT)} <= titles
