"""Training runs as processes of their own: one at a time, followed by what they write, ended with us.

```
<folder>/<id>/run.json     what was asked for, and how it ended     log.txt, result.json   what it said
<folder>/<id>/run/         the folder of the run itself: configuration, curves, checkpoints
```
A run that a gateway before this one began is `interrupted`, as no process outlives its gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import logging
import math
import os
import re
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from models.files import replace_file
from stream_app.edge.problems import ProblemError
from stream_app.edge.training_options import StartTraining, overrides_of, quoted, settings_of
from stream_app.process_guard import guarded

__all__ = ["RunState", "TrainingRun", "TrainingRunDetail", "TrainingRuns"]

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 10.0
MAX_RUNS: Final = 100
"""Listed; those before stay in their folders."""
MAX_LOG_BYTES: Final = 256 * 1024
MAX_POINTS: Final = 1_000
KEPT_VARIABLES: Final = ("SHELVER_LOG_LEVEL", "SHELVER_LOG_FORMAT")
"""What a run takes over: others may hold secrets, and what it needs it is told."""

_RUN: Final = "run.json"
_LOG: Final = "log.txt"
_RESULT: Final = "result.json"
_RUN_DIR: Final = "run"
_SUMMARY: Final = "run"
"""Where the scores of the whole run stand beside the curves of its fits."""
_IDENTIFIER: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class TrainingRun(BaseModel):
    """A training run."""

    id: str = Field(description="Identifies it.")
    catalogue: str = Field(description="What it learns from.")
    settings: dict[str, Any] = Field(description="What it was asked for.")
    state: RunState = Field(description="`running`, or how it ended.")
    started_at: datetime = Field(description="When it began, in UTC.")
    ended_at: datetime | None = Field(default=None, description="When it ended.")
    exit_code: int | None = Field(default=None, description="Of its process; negative for a signal.")
    result: dict[str, Any] | None = Field(
        default=None, description="Of one that succeeded: the version, whether it is the champion, scores."
    )
    error: str | None = Field(default=None, description="Of one that failed: the last line of its log.")


class FitProgress(BaseModel):
    """One network of a run."""

    name: str = Field(description="Such as `text` or `image-fold-1`.")
    epoch: int = Field(description="Passes that are done.")
    done: bool = Field(description="Whether it has ended.")
    metrics: list[dict[str, float]] = Field(description="A point for each step that was noted, oldest first.")


class TrainingRunDetail(TrainingRun):
    """A training run, and how far it is."""

    fits: list[FitProgress] = Field(description="The networks that were fitted, or are, in order.")


class TrainingRuns:
    """Starts, follows and ends training runs; used on one event loop.

    Args:
        folder: of all runs; each gateway has its own.
        catalogues: what may be learnt from, by name.
        overrides: of every run.

    Raises:
        SettingsError: a path cannot be told to a run.
    """

    def __init__(self, folder: Path, catalogues: Mapping[str, str], overrides: Sequence[str]) -> None:
        self._folder = folder
        self._roots = {name: quoted("data.root", path) for name, path in catalogues.items()}
        self._overrides = tuple(overrides)
        self._process: asyncio.subprocess.Process | None = None
        self._running: TrainingRun | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ending_as: RunState | None = None
        self._changing = asyncio.Lock()

    @property
    def catalogues(self) -> list[str]:
        """Names of what may be learnt from."""
        return sorted(self._roots)

    async def start(self, wanted: StartTraining) -> TrainingRun:
        """Start a run.

        Raises:
            ProblemError: 409 where one is going on, 422 where the catalogue is unknown, 503 where no process
                can be started.
        """
        root = self._roots.get(wanted.catalogue)
        if root is None:
            known = ", ".join(self.catalogues) or "none (set SHELVER_GATEWAY_CATALOGUES)"
            raise ProblemError(422, "invalid", f"no catalogue has this name; there are: {known}")
        overrides = [*self._overrides, *overrides_of(wanted.settings), *root]
        async with self._changing:
            if (running := self._running) is not None:
                raise ProblemError(
                    409, "conflict", f"the training {running.id} is going on; cancel it, or wait for its end"
                )
            now = datetime.now(UTC)
            run = TrainingRun(
                id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
                catalogue=wanted.catalogue,
                settings=settings_of(wanted.settings),
                state=RunState.RUNNING,
                started_at=now,
            )
            await self._spawn(run, overrides)
        return run

    def list(self) -> list[TrainingRun]:
        """The latest runs, newest first."""
        names = (path.name for path in self._folder.glob("*") if _IDENTIFIER.fullmatch(path.name))
        found = (self._read(name) for name in sorted(names, reverse=True)[:MAX_RUNS])
        return [run for run in found if run is not None]

    def get(self, identifier: str) -> TrainingRunDetail:
        """A run and how far it is.

        Raises:
            ProblemError: there is none.
        """
        run = self._known(identifier)
        fits = list(_fits(self._folder / identifier / _RUN_DIR))
        return TrainingRunDetail(**dict(run), fits=fits)

    def log(self, identifier: str, num_bytes: int) -> bytes:
        """The end of what a run said.

        Raises:
            ProblemError: there is no such run.
        """
        self._known(identifier)
        path = self._folder / identifier / _LOG
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - num_bytes))
            return file.read(num_bytes)

    async def cancel(self, identifier: str) -> TrainingRun:
        """End a run that is going on, and wait for its end.

        Raises:
            ProblemError: there is none, or it has ended.
        """
        self._known(identifier)
        async with self._changing:
            if self._running is None or self._running.id != identifier:
                raise ProblemError(409, "conflict", f"the training {identifier} has ended already")
            await self._end(RunState.CANCELLED)
        return self._known(identifier)

    async def stop(self) -> None:
        """End what is going on, with the gateway."""
        async with self._changing:
            await self._end(RunState.INTERRUPTED)

    async def _spawn(self, run: TrainingRun, overrides: Sequence[str]) -> None:
        folder = (self._folder / run.id).absolute()
        places = [*overrides, "logger=csv", *quoted("run_dir", str(folder / _RUN_DIR))]
        command = [sys.executable, "-m", "stream_app", "train", "--json", *places]
        try:
            folder.mkdir(parents=True)
            self._write(run)
            with (folder / _LOG).open("wb") as log, (folder / _RESULT).open("wb") as result:
                self._process = await asyncio.create_subprocess_exec(
                    *guarded(command),
                    env=_environment(),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=result,
                    stderr=log,
                    # A group of its own, which is ended as a whole.
                    start_new_session=True,
                )
        except OSError as error:
            logger.warning("a training cannot be started: %r", error)
            raise ProblemError(
                503, "unavailable", f"no training can be started: {error.strerror}; the log tells more"
            ) from error
        logger.info("training %s begins", run.id)
        self._running, self._ending_as = run, None
        self._watching = asyncio.create_task(self._watch(run, self._process))

    async def _watch(self, run: TrainingRun, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        # What it has started itself, and would outlive it.
        _signal_group(process.pid, signal.SIGKILL)
        ended = await asyncio.to_thread(self._ended, run, code)
        self._process = self._running = None
        logger.info("training %s has %s", ended.id, ended.state)

    async def _end(self, state: RunState) -> None:
        process, watching = self._process, self._watching
        if process is None or watching is None:
            return
        self._ending_as = state
        _signal_group(process.pid, signal.SIGTERM)
        await asyncio.wait({watching}, timeout=GRACE_SECONDS)
        if not watching.done():
            _signal_group(process.pid, signal.SIGKILL)
        await watching

    def _ended(self, run: TrainingRun, code: int) -> TrainingRun:
        result = _last_object(self._folder / run.id / _RESULT) if code == 0 else None
        state = RunState.SUCCEEDED if code == 0 else self._ending_as or RunState.FAILED
        ended = run.model_copy(
            update={
                "state": state,
                "ended_at": datetime.now(UTC),
                "exit_code": code,
                "result": result,
                "error": self._last_line(run.id) if state is RunState.FAILED else None,
            }
        )
        self._write(ended)
        return ended

    def _write(self, run: TrainingRun) -> None:
        replace_file(self._folder / run.id / _RUN, run.model_dump_json().encode())

    def _known(self, identifier: str) -> TrainingRun:
        run = self._read(identifier) if _IDENTIFIER.fullmatch(identifier) else None
        if run is None:
            raise ProblemError(404, "not-found", f"there is no training {identifier[:40]!r}")
        return run

    def _read(self, identifier: str) -> TrainingRun | None:
        try:
            run = TrainingRun.model_validate_json((self._folder / identifier / _RUN).read_bytes())
        except (OSError, ValidationError):
            return None
        is_ours = self._running is not None and self._running.id == run.id
        if run.state is RunState.RUNNING and not is_ours:
            return run.model_copy(update={"state": RunState.INTERRUPTED})
        return run

    def _last_line(self, identifier: str) -> str:
        lines = self.log(identifier, 4_096).decode(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "it said nothing"


def _environment() -> dict[str, str]:
    kept = KEPT_VARIABLES
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("SHELVER_") or name in kept
    }


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _last_object(path: Path) -> dict[str, Any] | None:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    with contextlib.suppress(ValueError):
        found = json.loads(lines[-1]) if lines else None
        return found if isinstance(found, dict) else None
    return None


def _fits(run_dir: Path) -> Iterator[FitProgress]:
    """What the curves of a run say, a network each; some are being written."""
    curves = sorted((run_dir / "csv").glob("*/metrics.csv"), key=_began)
    curves = [path for path in curves if path.parent.name != _SUMMARY]
    has_ended = (run_dir / "version").is_file()
    for path in curves:
        name = path.parent.name
        points = list(_points(path))
        epoch = 1 + max((int(point.get("epoch", -1)) for point in points), default=-1)
        done = has_ended or (run_dir / "fits" / f"{name}.safetensors").is_file()
        yield FitProgress(name=name, epoch=epoch, done=done, metrics=points[-MAX_POINTS:])


def _began(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.parent.stat().st_ctime
    return 0.0


def _points(path: Path) -> Iterator[dict[str, float]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                point = {name: number for name, text in row.items() if (number := _number(text)) is not None}
                if point:
                    yield point
    except (OSError, csv.Error):
        return


def _number(text: object) -> float | None:
    """A finite number; None for an empty cell, and for a row that is still being written."""
    with contextlib.suppress(ValueError, TypeError):
        number = float(str(text))
        return number if math.isfinite(number) else None
    return None
