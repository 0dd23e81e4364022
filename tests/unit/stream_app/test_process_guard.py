"""A guarded program ends with its parent, whatever ends the parent."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stream_app.process_guard import guarded

SLEEP = ["/bin/sleep", "60"]
# A parent that starts a guarded sleep, says its process id, and waits for what is done to it.
PARENT = f"""
import subprocess, sys
sys.path.insert(0, {str(Path.cwd())!r})
from stream_app.process_guard import guarded
child = subprocess.Popen(guarded({SLEEP!r}), stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""


def wait_until_gone(process: psutil.Process) -> None:
    """An orphan may stay a zombie until init looks."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(guarded(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def wait_until_it_is(program: str, pid: int) -> psutil.Process:
    process = psutil.Process(pid)
    deadline = time.monotonic() + 10
    while process.name() != program and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.name() == program
    return process


def test_output_and_exit_code_are_the_program_s_own() -> None:
    with start(["/bin/sh", "-c", "echo said; exit 7"]) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"said\n"
        assert process.wait(10) == 7


def test_the_process_id_is_the_program_s_own() -> None:
    with start(SLEEP) as process:
        wait_until_it_is("sleep", process.pid)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL


def test_closing_the_pipe_ends_the_program() -> None:
    with start(SLEEP) as process:
        wait_until_it_is("sleep", process.pid)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_program_does_not_outlive_its_parent(how: signal.Signals, frozen: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout is not None
        program = wait_until_it_is("sleep", int(parent.stdout.readline()))
        if frozen:
            program.suspend()
        parent.send_signal(how)
        parent.wait(10)
        wait_until_gone(program)


def test_a_program_that_does_not_exist_fails() -> None:
    with start(["/nonexistent/program"]) as process:
        assert process.wait(10) != 0
