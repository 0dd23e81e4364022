"""A launcher for a child process that must never outlive its parent, even a parent that was SIGKILLed.

Run as a script: ``python process_guard.py PROGRAM [ARGUMENTS...]`` with a pipe as standard input. The script
forks a watcher and then becomes PROGRAM, so the process id that the parent got is the program's own. The
watcher blocks on the pipe; when the parent closes it, which the kernel also does when the parent dies in
whatever way, the watcher ends the program: SIGTERM first, SIGKILL after ``GRACE_SECONDS``.

Linux' PR_SET_PDEATHSIG is not used: it fires when the *thread* that started the child ends, which for
``asyncio.to_thread`` is not when the process ends.
"""

import os
import signal
import sys
import time
from pathlib import Path

GRACE_SECONDS = 10.0


def guarded(command: list[str]) -> list[str]:
    """The command line that runs ``command`` under this guard; start it with ``stdin=subprocess.PIPE``.

    Args:
        command: absolute path of a program and its arguments.
    """
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), *command]


def _end(process: int) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    os.kill(process, signal.SIGTERM)
    os.kill(process, signal.SIGCONT)
    while os.getppid() == process and time.monotonic() < deadline:
        time.sleep(0.05)
    if os.getppid() == process:
        os.kill(process, signal.SIGKILL)


def _watch(process: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.close(1)
    os.close(2)
    while os.read(0, 1024):
        pass
    # The watcher is the program's child: while it is, the process id cannot belong to another one.
    if os.getppid() == process:
        _end(process)


def main(command: list[str]) -> None:
    """Fork the watcher, then become ``command``; returns only if the program cannot be started.

    Raises:
        OSError: the program does not exist or may not be run.
    """
    process = os.getpid()
    if os.fork() == 0:
        _watch(process)
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
