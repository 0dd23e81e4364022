"""A real Prometheus with the committed configuration and alerts, pointed at the processes of a test."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from deploy.grafana.panels import GATEWAYS, WORKERS
from stream_app.broker_config import free_port
from stream_app.process_guard import guarded
from tests.expressions import ALERTS, DEPLOY, Expression

CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
PATIENCE_SECONDS = 60.0
RANGE = "10s"
"""What Grafana would choose for `$__rate_interval`, with a scrape each second."""

CHOSEN = {WORKERS: "shelver", GATEWAYS: "shelver-gateway"}
"""The job of what a page is about."""

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed (`apt-get install prometheus`)",
)

Series = dict[str, Any]


class Prometheus:
    """Prometheus as a process that scrapes every second; stopped when the ``with`` block ends.

    Args:
        folder: for its configuration, its data and its log.
        targets: ports of what it scrapes, by job.
    """

    def __init__(self, folder: Path, targets: Mapping[str, int]) -> None:
        self._folder = folder
        self._targets = targets
        self._address = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        config = self._folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config()), "utf-8")
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                guarded(
                    [
                        str(shutil.which("prometheus")),
                        f"--config.file={config}",
                        f"--storage.tsdb.path={self._folder / 'data'}",
                        f"--web.listen-address={self._address}",
                        "--log.level=warn",
                    ]
                ),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def _config(self) -> dict[str, Any]:
        """The committed one, but for how often and where, which a test cannot share."""
        config: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(ALERTS)]
        assert {scrape["job_name"] for scrape in config["scrape_configs"]} == self._targets.keys()
        for scrape in config["scrape_configs"]:
            del scrape["dns_sd_configs"]
            targets = [self._address_of(scrape["job_name"])]
            scrape |= {"scrape_timeout": "1s", "static_configs": [{"targets": targets}]}
        return config

    def _filled(self, expression: str) -> str:
        """An expression with the variables of Grafana filled in: all of the processes that a page offers."""
        for processes, job in CHOSEN.items():
            expression = expression.replace(f"${processes.variable}", self._address_of(job))
        return expression.replace("$__rate_interval", RANGE)

    def _address_of(self, job: str) -> str:
        return f"127.0.0.1:{self._targets[job]}"

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of its API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self._address}/api/v1/{path}?{query}", timeout=10) as response:
            return json.load(response)["data"]

    def ask(self, expression: str) -> list[Series]:
        """The series that an expression has now; variables of Grafana are filled in."""
        result: list[Series] = self.get("query", query=self._filled(expression))["result"]
        return result

    def ask_over(self, expression: str, start: float, end: float, step_seconds: float) -> list[Series]:
        """The series of an expression between two times, in seconds since the epoch."""
        found = self.get(
            "query_range",
            query=self._filled(expression),
            start=f"{start}",
            end=f"{end}",
            step=f"{step_seconds}",
        )
        result: list[Series] = found["result"]
        return result

    def ready(self) -> None:
        """Wait until it has scraped all of them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < deadline, (self._folder / "prometheus.log").read_text()[-2000:]
            try:
                if len(self.ask("up == 1")) == len(self._targets):
                    return
            except OSError:
                pass
            time.sleep(0.1)

    def kinds(self) -> dict[str, str]:
        """The type of each metric that was scraped, by the name that expressions use."""
        suffixes = {"counter": "_total", "info": "_info"}
        found = {}
        for name, (told, *_) in self.get("metadata").items():
            kind = told["type"]
            found[name.removesuffix(suffixes.get(kind, "")) + suffixes.get(kind, "")] = (
                "gauge" if kind == "info" else kind
            )
        return found

    def without_data(self, expressions: Iterable[Expression]) -> list[str]:
        """Expressions that have no series, or none with a number."""
        return [
            f"{each.place}: {each.text}"
            for each in expressions
            if all(series["value"][1] == "NaN" for series in self.ask(each.text))
        ]


def promtool(*arguments: str, text: str | None = None) -> str:
    """What promtool says; an AssertionError with it where something is wrong."""
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def labels_of(series: Iterable[Series]) -> list[Mapping[str, str]]:
    """The labels of each series."""
    return [each["metric"] for each in series]
