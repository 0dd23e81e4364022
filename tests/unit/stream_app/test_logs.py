"""Log lines: one record a line, no forged lines, no floods."""

import io
import json
import logging
import sys
import threading
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.logs import (
    LIBRARY_LOGGERS,
    JsonFormatter,
    LogFormat,
    LogLevel,
    LogSettings,
    RepeatFilter,
    StandardErrorHandler,
    TextFormatter,
    configure_logs,
    tell_error,
)


def record(message: str = "hello", name: str = "stream_app.pipeline", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, __file__, 1, message, (), None)
    made.created = 1764057600.5
    vars(made).update(extra)
    return made


def test_a_text_line_names_time_level_logger_and_event() -> None:
    line = TextFormatter().format(record(event_id="e-1", source="product-listed-0-42"))
    assert line == (
        "2025-11-25T08:00:00.500Z WARNING stream_app.pipeline: hello event_id=e-1 source=product-listed-0-42"
    )


def test_a_json_line_has_the_same_fields() -> None:
    assert json.loads(JsonFormatter().format(record(event_id="e-1", trace_id="4bf9"))) == {
        "time": "2025-11-25T08:00:00.500Z",
        "level": "warning",
        "logger": "stream_app.pipeline",
        "message": "hello",
        "event_id": "e-1",
        "trace_id": "4bf9",
    }


@given(st.text(), st.text())
def test_hostile_text_cannot_forge_a_line(message: str, event_id: str) -> None:
    made = record(message.replace("%", "%%"), event_id=event_id)
    assert len(TextFormatter().format(made).splitlines()) == 1
    assert len(JsonFormatter().format(made).splitlines()) == 1


def test_terminal_and_direction_characters_are_escaped() -> None:
    line = TextFormatter().format(record("a\x1b[31m\u202eb\r\nc\u2028d\x85"))
    assert line.endswith(r"a\x1b[31m\u202eb\r\nc\u2028d\x85")


def test_a_long_message_is_cut() -> None:
    assert len(TextFormatter().format(record("x" * 1_000_000))) < 5_000


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_is_kept(formatter: logging.Formatter) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = record(exc_info=sys.exc_info())
    assert "ValueError: broken" in formatter.format(made)


def test_lines_of_libraries_are_let_through_a_few_times_then_counted() -> None:
    now = [0.0]
    repeats = RepeatFilter(("aiokafka",), burst=2, period_seconds=60, clock=lambda: now[0])
    lines = [record("coordinator dead", "aiokafka.consumer.group") for _ in range(10)]
    assert [repeats.filter(line) for line in lines] == [True, True] + [False] * 8
    now[0] = 60.0
    later = record("coordinator dead", "aiokafka.consumer.group")
    assert repeats.filter(later)
    assert TextFormatter().format(later).endswith("coordinator dead (8 more like this were left out)")


def test_other_lines_always_pass() -> None:
    repeats = RepeatFilter(("aiokafka",), burst=1, clock=lambda: 0.0)
    assert all(repeats.filter(record("same", "stream_app.pipeline")) for _ in range(10))
    assert repeats.filter(record("one", "aiokafka"))
    assert repeats.filter(record("two", "aiokafka"))


def test_the_memory_for_repeats_is_bounded() -> None:
    repeats = RepeatFilter(("aiokafka",), clock=lambda: 0.0)
    for number in range(5_000):
        repeats.filter(record(f"line {number}", "aiokafka"))
    assert len(repeats._seen) <= 1_000


class TestConfigureLogs:
    def test_lines_go_to_the_current_standard_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure_logs(LogSettings())
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logging.getLogger("stream_app.x").info("heard")
        logging.getLogger("stream_app.x").debug("not heard")
        assert stream.getvalue().endswith("INFO    stream_app.x: heard\n")
        assert "not heard" not in stream.getvalue()

    def test_a_second_call_replaces_the_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure_logs(LogSettings())
        configure_logs(LogSettings(log_format=LogFormat.JSON))
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logging.getLogger("stream_app.x").warning("once")
        assert json.loads(stream.getvalue())["message"] == "once"
        assert sum(isinstance(h, StandardErrorHandler) for h in logging.getLogger().handlers) == 1

    @pytest.mark.parametrize(
        ("level", "expected"),
        [(LogLevel.DEBUG, "DEBUG"), (LogLevel.INFO, "WARNING"), (LogLevel.ERROR, "ERROR")],
    )
    def test_libraries_are_heard_from_warning_up(self, level: LogLevel, expected: str) -> None:
        configure_logs(LogSettings(log_level=level))
        assert {logging.getLevelName(logging.getLogger(name).level) for name in LIBRARY_LOGGERS} == {expected}

    def test_warnings_become_log_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure_logs(LogSettings())
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(capture=True)
            warnings.warn("careful", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
        assert "careful" in stream.getvalue()

    def test_what_nobody_caught_is_a_line_where_lines_are_objects(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure_logs(LogSettings(log_format=LogFormat.JSON))
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        try:
            raise ValueError("broken")
        except ValueError as error:
            sys.excepthook(ValueError, error, error.__traceback__)
            threading.excepthook(
                threading.ExceptHookArgs((ValueError, error, error.__traceback__, threading.current_thread()))
            )
        for line in stream.getvalue().splitlines():
            fields = json.loads(line)
            assert (fields["level"], fields["message"]) == ("critical", "uncaught ValueError")
            assert "ValueError: broken" in fields["exception"]
        assert stream.getvalue().count("\n") == 2
        configure_logs(LogSettings())
        assert (sys.excepthook, threading.excepthook) == (sys.__excepthook__, threading.__excepthook__)

    @pytest.mark.parametrize("log_format", LogFormat)
    def test_the_error_of_a_command_has_the_form_of_the_lines(
        self, log_format: LogFormat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure_logs(LogSettings(log_format=log_format))
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        tell_error("100 % wrong")
        if log_format is LogFormat.TEXT:
            assert stream.getvalue() == "shelver: 100 % wrong\n"
        else:
            told = json.loads(stream.getvalue())
            assert (told["level"], told["message"]) == ("error", "100 % wrong")


def test_a_line_whose_arguments_do_not_fit_is_written_all_the_same() -> None:
    made = record("%d of %d")
    made.args = ("x",)
    assert "%d of %d ('x',)" in TextFormatter().format(made)


def test_the_settings_are_frozen_and_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        LogSettings().log_level = LogLevel.DEBUG  # type: ignore[misc]
    with pytest.raises(ValueError, match="debug"):
        LogSettings.model_validate({"log_level": "loud"})
