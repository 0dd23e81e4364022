"""`shelver demo` as a user types it, and how it ends."""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

PATIENCE_SECONDS = 240.0
SHELVER = Path(sys.executable).with_name("shelver")


class Demo:
    """A running `shelver demo`, what it said so far and what it started."""

    def __init__(self, process: subprocess.Popen[str], temporary: Path) -> None:
        self.process = process
        self.temporary = temporary
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(text in line for line in self.said):
            line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"the demo ended without {text!r}: {self.said}"
            self.said.append(line)

    def ended(self, seconds: float = 60.0) -> int:
        return self.process.wait(seconds)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def close(self) -> None:
        """Read what is left and close the pipes; the process has ended."""
        self._reader.join(PATIENCE_SECONDS)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)


@contextmanager
def running_demo(repository: Path, temporary: Path, *arguments: str) -> Iterator[Demo]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHELVER_")}
    process = subprocess.Popen(
        [SHELVER, "demo", "--repository", repository, *arguments],
        env={**environment, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    demo = Demo(process, temporary)
    try:
        yield demo
    finally:
        process.kill()
        process.wait()
        demo.close()


def wait_until_gone(processes: Sequence[psutil.Process], seconds: float = 20.0) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive, [process.cmdline() for process in alive]


def temporary_folders(demo: Demo) -> list[Path]:
    return list(demo.temporary.glob("shelver-*"))


def test_everything_from_nothing_to_the_summary(tmp_path: Path) -> None:
    result = subprocess.run(
        [SHELVER, "demo", "--events", "40", "--json", "--repository", tmp_path / "repository"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    summary = json.loads(line)
    assert list(summary) == [
        "published",
        "assigned",
        "dead_lettered",
        "lost",
        "duplicates",
        "seconds",
        "events_per_second",
        "p50_ms",
        "p99_ms",
        "model",
        "explanation",
    ]
    assert (summary["published"], summary["assigned"], summary["lost"], summary["model"]) == (
        40,
        40,
        0,
        "demo@1",
    )
    assert 0 < summary["p50_ms"] <= summary["p99_ms"]
    explanation = summary["explanation"]
    assert explanation["event_id"].startswith("demo-")
    assert explanation["additivity_error"] < 1e-4
    assert explanation["explanations"][0]["image"] is not None
    assert "Why one of them is where it is" in result.stderr
    assert "Training a small model" in result.stderr
    assert (tmp_path / "repository" / "demo" / "1" / "bundle.json").is_file()
    assert not list(tmp_path.glob("shelver-*"))


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Kafka runs on", signal.SIGTERM),
        ("Starting a worker", signal.SIGINT),
        ("The worker is ready", signal.SIGTERM),
        ("The worker is ready", signal.SIGINT),
    ],
)
def test_a_signal_at_any_moment_leaves_nothing_running(
    demo_repository: Path, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    with running_demo(demo_repository, tmp_path, "--events", "100000", "--json") as demo:
        demo.wait_for(moment)
        started = demo.descendants()
        demo.process.send_signal(number)
        assert demo.ended() == 130
        assert started
        wait_until_gone(started)
        assert not temporary_folders(demo)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_model_is_trained_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_demo(tmp_path / "repository", tmp_path) as demo:
        demo.wait_for("random weights")
        started = demo.descendants()
        demo.process.send_signal(number)
        assert demo.ended() != 0
        wait_until_gone(started)
        assert not temporary_folders(demo)
        assert not (tmp_path / "repository" / "demo" / "1").exists()


def test_impatience_does_not_cut_the_cleaning_up_short(demo_repository: Path, tmp_path: Path) -> None:
    with running_demo(demo_repository, tmp_path, "--events", "100000") as demo:
        demo.wait_for("The worker is ready")
        started = demo.descendants()
        while demo.process.poll() is None:
            demo.process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert demo.ended() == 130
        wait_until_gone(started)
        assert not temporary_folders(demo)


def test_a_demo_that_is_killed_takes_kafka_and_the_worker_with_it(
    demo_repository: Path, tmp_path: Path
) -> None:
    with running_demo(demo_repository, tmp_path, "--events", "100000") as demo:
        demo.wait_for("The worker is ready")
        started = demo.descendants()
        demo.process.kill()
        wait_until_gone(started, seconds=30)


def test_a_worker_that_dies_ends_the_demo_with_a_message(demo_repository: Path, tmp_path: Path) -> None:
    with running_demo(demo_repository, tmp_path, "--events", "100000") as demo:
        demo.wait_for("The worker is ready")
        started = demo.descendants()
        (worker,) = (process for process in started if is_worker(process))
        worker.kill()
        assert demo.ended() == 1
        demo.wait_for("shelver: the worker ended by itself")
        wait_until_gone(started)
        assert not temporary_folders(demo)


def test_kept_parts_run_until_they_are_stopped(demo_repository: Path, tmp_path: Path) -> None:
    with running_demo(demo_repository, tmp_path, "--events", "5", "--keep") as demo:
        demo.wait_for("Still running until Ctrl-C")
        started = demo.descendants()
        assert all(process.is_running() for process in started)
        demo.process.send_signal(signal.SIGINT)
        assert demo.ended() == 0
        wait_until_gone(started)
        assert not temporary_folders(demo)


def test_the_web_page_and_the_gateway_are_kept_with_it(demo_repository: Path, tmp_path: Path) -> None:
    with running_demo(demo_repository, tmp_path, "--events", "5", "--keep", "--console") as demo:
        demo.wait_for("the web page at http://127.0.0.1:")
        started = demo.descendants()
        told = dict(re.findall(r"  (the \w+ ?\w*) at (http://\S+)", "".join(demo.said)))
        for name, path in (("the gateway", "/v1/models"), ("the web page", "/_stcore/health")):
            with urllib.request.urlopen(told[name] + path, timeout=10) as response:  # noqa: S310 - our own
                assert response.status == 200
        demo.process.send_signal(signal.SIGINT)
        assert demo.ended() == 0
        wait_until_gone(started)
        assert not temporary_folders(demo)


def test_the_web_page_alone_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with running_demo(tmp_path, tmp_path, "--console") as demo:
        demo.wait_for("--console goes with --keep")
        assert demo.ended() == 2


def is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()[-1] == "worker" and "process_guard.py" not in " ".join(process.cmdline())
    return False
