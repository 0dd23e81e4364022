"""A command of ours as a child process that ends with this process, for the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_app.broker_config import free_port
from stream_app.errors import FatalError
from stream_app.process_guard import guarded
from stream_app.settings import PREFIX

__all__ = ["ServiceProcess"]

KEPT_VARIABLES = (f"{PREFIX}DEVICE", f"{PREFIX}LOG_LEVEL", f"{PREFIX}LOG_FORMAT")
"""What a child takes over from the user's settings: the others may point at a real cluster."""


class ServiceProcess:
    """A worker, gateway or console with settings of its own; stopped, in order, after the `with` block.

    Args:
        command: of `shelver`.
        settings: names of settings, such as `broker`, and their values.
        port_setting: where it is told the port it serves HTTP on, which is a free one.
        ready_path: what is answered with 200 there once it is ready.
        log_file: what it says goes there.
        start_timeout_seconds: longest wait until it is ready.
    """

    def __init__(
        self,
        command: str,
        settings: Mapping[str, object],
        *,
        port_setting: str,
        ready_path: str = "/readyz",
        log_file: Path,
        start_timeout_seconds: float = 120.0,
    ) -> None:
        self._command = command
        self._port = free_port()
        self._settings = {**settings, port_setting: self._port}
        self._ready_path = ready_path
        self._log_file = log_file
        self._start_timeout_seconds = start_timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it serves HTTP: a worker its metrics and health, the others what they are for."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id; None before the start and after the stop."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it; returns once it is ready.

        Raises:
            FatalError: it ended, or was not ready in time; with the end of its log.
        """
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the arguments are our own
                guarded([sys.executable, "-m", "stream_app", self._command]),
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Keeps Ctrl-C on the terminal away from it: we stop it, in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + self._start_timeout_seconds
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise self._ended(f"was not ready within {self._start_timeout_seconds:g} s")
            time.sleep(0.1)

    def check(self) -> None:
        """Raise FatalError when it has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            raise self._ended("ended by itself")

    def stop(self, timeout_seconds: float = 30.0) -> None:
        """End it in order (SIGTERM), by force after `timeout_seconds`."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(PREFIX) or name in KEPT_VARIABLES
        }
        return inherited | {f"{PREFIX}{name.upper()}": str(value) for name, value in self._settings.items()}

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{self._ready_path}", timeout=2.0) as response:  # noqa: S310 - our own URL
                return bool(response.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def _ended(self, what: str) -> FatalError:
        lines = self._log_file.read_text(errors="replace").splitlines()[-8:]
        return FatalError(
            "\n".join([f"the {self._command} {what}; the end of its log:", *(line[:300] for line in lines)])
        )
