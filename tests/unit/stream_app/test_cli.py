"""The command line: light, lazy, one line for an operator's error."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest
import typer

from schemas.errors import ShelverError
from stream_app import cli
from stream_app.errors import FatalError, SettingsError
from stream_app.logs import LogSettings

HEAVY = {
    "torch",
    "faust",
    "aiokafka",
    "lightning",
    "transformers",
    "hydra",
    "numpy",
    "PIL",
    "aiohttp",
    "sklearn",
}


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)


@pytest.fixture
def add_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    def add(name: str, command: Any) -> None:
        module = ModuleType(f"stream_app.commands.{name}")
        setattr(module, name, command)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, name, "A command of the test.")

    return add


def run(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import stream_app",
        "import stream_app.cli",
        "from stream_app.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from stream_app.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass",
    ],
)
def test_help_and_version_load_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & HEAVY


def test_help_answers_fast() -> None:
    command = [sys.executable, "-m", "stream_app", "--help"]
    started = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert time.perf_counter() - started < 5


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(f" {name} " in text for name in cli.COMMANDS)


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    captured = capsys.readouterr()
    assert "Usage: shelver" in captured.out + captured.err


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"shelver {metadata.version('shelver')}\n"


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wroker") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Did you mean 'worker'" in captured.err


def test_an_unknown_option_is_wrong_usage() -> None:
    assert run("--loud") == 2
    assert run("--log-level", "loud", "demo") == 2


@pytest.mark.parametrize("number", ["inf", "nan"])
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("backfill",), "--rate"),
        (("backfill",), "--share"),
        (("dead-letters", "replay"), "--rate"),
        (("demo",), "--rate"),
        (("models", "promote", "fusion"), "--tolerance"),
        (("publish", "rows.csv"), "--rate"),
    ],
)
def test_a_number_that_is_none_is_refused(
    words: Sequence[str], option: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, option, number) == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err


def test_a_command_is_imported_when_it_is_called(add_command: Callable[[str, Any], None]) -> None:
    def hello(count: int = 1) -> None:
        """Say hello.

        Args:
            count: for readers of the code.
        """
        typer.echo("hello " * count)

    add_command("hello", hello)
    assert run("hello", "--count", "2") == 0


def test_the_help_of_a_command_leaves_out_sections_for_readers_of_the_code(
    add_command: Callable[[str, Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def hello() -> None:
        """Say hello.

        In one line.

        Raises:
            ValueError: never.
        """

    add_command("hello", hello)
    assert run("hello", "--help") == 0
    text = capsys.readouterr().out
    assert "In one line." in text
    assert "Raises" not in text


def test_a_group_of_commands_can_be_one_entry(add_command: Callable[[str, Any], None]) -> None:
    group = typer.Typer()
    calls = []
    group.command("one")(lambda: calls.append(1))
    group.command("two")(lambda: calls.append(2))
    add_command("group", group)
    assert run("group", "two") == 0
    assert calls == [2]


class BrokenModelError(ShelverError, ValueError):
    """Stands for any operator's error."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("max_batch must be\nat least 1"), 2),
        (BrokenModelError("no such version"), 2),
        (FatalError("producer fenced; the end of its log:\nfenced"), 1),
        (ShelverError("something   of ours"), 1),
    ],
)
def test_an_error_of_ours_is_a_message_and_an_exit_code(
    add_command: Callable[[str, Any], None], capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    def fail() -> None:
        """Fail."""
        raise error

    add_command("fail", fail)
    assert run("fail") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    message = " ".join(str(error).split()) if code == 2 else str(error)
    assert captured.err == f"shelver: {message}\n"


def test_a_bug_keeps_its_traceback(add_command: Callable[[str, Any], None]) -> None:
    def fail() -> None:
        """Fail."""
        raise KeyError("a bug")

    add_command("fail", fail)
    with pytest.raises(KeyError):
        cli.main(["fail"])


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (typer.Exit(7), 7), (typer.Abort(), 1)]
)
def test_leaving_early_has_its_exit_code(
    add_command: Callable[[str, Any], None], error: BaseException, code: int
) -> None:
    def leave() -> None:
        """Leave."""
        raise error

    add_command("leave", leave)
    assert run("leave") == code


def test_the_log_options_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, add_command: Callable[[str, Any], None]
) -> None:
    seen: list[LogSettings] = []
    monkeypatch.setattr(cli, "configure_logs", seen.append)
    monkeypatch.setenv("SHELVER_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("SHELVER_LOG_FORMAT", "json")
    add_command("nothing", lambda: None)
    assert run("nothing") == 0
    assert [(settings.log_level, settings.log_format) for settings in seen] == [("debug", "json")]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_that_begins_like_the_table(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Usage: shelver {name}" in text
    assert cli.COMMANDS[name] in text


def test_the_help_of_no_command_loads_torch() -> None:
    calls = [f"try: main(['{name}', '--help'])\nexcept SystemExit: pass" for name in cli.COMMANDS]
    assert not loaded_after("\n".join(["from stream_app.cli import main", *calls])) & {"torch", "lightning"}


def test_the_installed_command_runs_this() -> None:
    (entry,) = metadata.entry_points(group="console_scripts", name="shelver")
    assert entry.load() is cli.main


def test_a_broken_pipe_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "stream_app", "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert "Traceback" not in result.stderr
