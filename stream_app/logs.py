"""Log lines on standard error; set up by the command line only.

A module logs with `getLogger(__name__)` and names the event with `extra=named(record, ...)` of
`stream_app.stages`; both formats print what it says. Never a payload or a secret. In JSON everything that a
worker writes to standard error is an object a line: warnings, what nobody caught, and the error it ends with
too. What other commands tell a person there, how far they are and what they did, stays plain text.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

CONTEXT_FIELDS = ("event_id", "source", "trace_id", "request_id")
"""Names in `extra` that are printed: which event, its topic-partition-offset, its trace; which request."""

LIBRARY_LOGGERS = (
    "aiohttp",
    "aiokafka",
    "faust",
    "httpcore",
    "httpx",
    "kafka",
    "mode",
    "opentelemetry",
    "python_multipart",
    "urllib3",
    "uvicorn",
)
"""Loggers that tell of every step, and repeat one line hundreds of times while a broker is away."""

_COMMAND = "shelver"

MAX_MESSAGE_CHARACTERS = 4_000
MAX_REMEMBERED_LINES = 1_000

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_LINE_AND_DIRECTION = (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*_CONTROLS, *_LINE_AND_DIRECTION)}


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The level as `logging` counts it."""
        return logging.getLevelNamesMapping()[self.value.upper()]


class LogFormat(StrEnum):
    """The form of a log line."""

    TEXT = "text"
    JSON = "json"


class LogSettings(BaseModel):
    """What is logged and in which form."""

    model_config = ConfigDict(frozen=True)

    log_level: LogLevel = Field(LogLevel.INFO, description="Least level that is logged.")
    log_format: LogFormat = Field(
        LogFormat.TEXT, description="Form of log lines: text, or json: one object a line."
    )


def configure_logs(settings: LogSettings) -> None:
    """Send all log lines to standard error; calling it again replaces the earlier set-up.

    Libraries are heard from `warning` up, unless the level is `debug`.
    """
    handler = StandardErrorHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else TextFormatter())
    handler.addFilter(RepeatFilter(LIBRARY_LOGGERS))
    root = logging.getLogger()
    root.handlers[:] = [other for other in root.handlers if not isinstance(other, StandardErrorHandler)]
    root.addHandler(handler)
    level = settings.log_level.number
    root.setLevel(level)
    for name in LIBRARY_LOGGERS:
        logging.getLogger(name).setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    is_json = settings.log_format is LogFormat.JSON
    sys.excepthook = _log_uncaught if is_json else sys.__excepthook__
    threading.excepthook = _log_uncaught_in_thread if is_json else threading.__excepthook__


def tell_error(message: str) -> None:
    """Say on standard error why a command ends: for people, or as an object where log lines are objects."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, StandardErrorHandler)]
    if any(isinstance(handler.formatter, JsonFormatter) for handler in handlers):
        logging.getLogger(_COMMAND).error("%s", message)
    else:
        sys.stderr.write(f"{_COMMAND}: {message}\n")


class StandardErrorHandler(logging.StreamHandler[Any]):
    """Writes to whatever `sys.stderr` is when a line comes, so that a progress bar can keep its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """The current standard error."""
        return sys.stderr


class TextFormatter(logging.Formatter):
    """One line for people: time in UTC, level, logger, message, event; a traceback follows on its own lines.

    Control and direction-changing characters are escaped, so a hostile title cannot forge a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its line feed."""
        context = "".join(f" {name}={value}" for name, value in _context(record).items())
        text = f"{_message(record)}{context}".translate(_ESCAPES)
        line = f"{_timestamp(record)} {record.levelname:<7} {record.name}: {text}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line for log collectors, the traceback as one string in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object without its line feed."""
        fields = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_context(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class RepeatFilter(logging.Filter):
    """Lets a library's line through a few times a period, then only counts it.

    The first line of the next period says how many were left out.

    Args:
        loggers: names whose lines, and those of their children, are counted; others always pass.
        burst: lines of one kind that pass in a period.
        period_seconds: length of a period.
        clock: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        loggers: tuple[str, ...],
        *,
        burst: int = 5,
        period_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._loggers = frozenset(loggers)
        self._burst = burst
        self._period_seconds = period_seconds
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the line passes."""
        if record.name.partition(".")[0] not in self._loggers:
            return True
        key, now = (record.name, str(record.msg)), self._clock()
        started, num_seen = self._seen.get(key, (now, 0))
        if now - started >= self._period_seconds:
            record.num_left_out = max(0, num_seen - self._burst)
            started, num_seen = now, 0
        if len(self._seen) >= MAX_REMEMBERED_LINES:
            self._seen.clear()
        self._seen[key] = (started, num_seen + 1)
        return num_seen < self._burst


def _timestamp(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger(_COMMAND).critical("uncaught %s", kind.__name__, exc_info=(kind, error, trace))


def _log_uncaught_in_thread(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_value is not None and not issubclass(uncaught.exc_type, SystemExit):
        _log_uncaught(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):  # a library's line whose arguments do not fit it
        message = f"{record.msg} {record.args!r}"
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = f"{message[:MAX_MESSAGE_CHARACTERS]}... ({len(message)} characters)"
    num_left_out = getattr(record, "num_left_out", 0)
    return f"{message} ({num_left_out} more like this were left out)" if num_left_out else message


def _context(record: logging.LogRecord) -> dict[str, str]:
    return {name: str(getattr(record, name)) for name in CONTEXT_FIELDS if hasattr(record, name)}
