"""The `shelver` command: one table of commands, each imported only when it is called.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings (one line says what to change), 130 interrupted.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version as distribution_version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from stream_app.logs import LogFormat, LogLevel, LogSettings, configure_logs, tell_error

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

COMMANDS = {
    "demo": "Show everything on this machine: Kafka, a small model, a worker, events in, categories out.",
    "broker": "Run a real single-node Apache Kafka on loopback until Ctrl-C.",
    "worker": "Run the service: product-listed in, category-assigned out.",
    "publish": "Publish the products of a catalogue as product-listed events, pictures inside.",
    "gateway": "Serve the HTTP edge: products in by HTTP, answered when their categories arrive.",
    "console": "Serve the web page: try products, watch the stream, predict test sets, promote models.",
    "keys": "Make, list and remove the API keys of the gateway.",
    "watch": "Watch the categories, explanations and dead letters that come out, until Ctrl-C.",
    "dead-letters": "List dead letters, and send them back to be tried again.",
    "backfill": "Score listings again with another version, beside the workers and at a bounded share.",
    "corrections": "Write what people corrected as rows to train on.",
    "train": "Train a model; ends with a new version in the repository.",
    "evaluate": "Score a model version on labelled products.",
    "explain": "Explain why a product gets its category, word by word and on its picture.",
    "schema": "Print the AsyncAPI document of the service, or write it and the JSON Schemas of all messages.",
    "models": "List, show, promote, roll back and verify model versions.",
}
"""Name of each command and the first sentence of its help."""

_DOCSTRING_SECTION = re.compile(r"\n+(?:Args|Returns|Raises|Yields):\n")


class LazyCommands(TyperGroup):
    """The group behind `shelver`: names and summaries from the table, code on first use."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command that is called; an unknown one is refused with the nearest names."""
        name, entry, rest = super().resolve_command(ctx, args)
        if name is None or entry is None:
            return name, entry, rest
        return name, load_command(name), rest


def load_command(name: str) -> Any:
    """Import the module of one command and return what Typer makes of it.

    Args:
        name: a key of `COMMANDS`; `stream_app/commands/<name>.py`, `_` for `-`, holds a function or
            a Typer of that name.
    """
    module = name.replace("-", "_")
    command = getattr(import_module(f"stream_app.commands.{module}"), module)
    if not isinstance(command, typer.Typer):
        application = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        application.command(name=name, help=_help_text(command))(command)
        command = application
    return typer.main.get_command(command)


app = typer.Typer(
    name="shelver",
    cls=LazyCommands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _help_text(command: Callable[..., Any]) -> str:
    """Return a command's docstring up to its first section for readers of the code."""
    return _DOCSTRING_SECTION.split(inspect.getdoc(command) or "", maxsplit=1)[0]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shelver {distribution_version('shelver')}")
        raise typer.Exit


@app.callback()
def shelver(
    log_level: Annotated[
        LogLevel,
        typer.Option(
            envvar="SHELVER_LOG_LEVEL",
            case_sensitive=False,
            metavar="LEVEL",
            help="Least level that is logged: debug, info, warning or error.",
        ),
    ] = LogLevel.INFO,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            envvar="SHELVER_LOG_FORMAT",
            case_sensitive=False,
            metavar="FORM",
            help="Log lines as text, or as json, one object a line.",
        ),
    ] = LogFormat.TEXT,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the release and leave."
        ),
    ] = False,
) -> None:
    """Put marketplace products on the right shelf: Kafka in, categories out."""
    configure_logs(LogSettings(log_level=log_level, log_format=log_format))


def _report(error: Exception) -> int:
    """Print one of our own errors and return the exit code; anything else goes on as a bug.

    What an operator can mend is one line; what broke while running may bring the end of a log with it.
    """
    from schemas.errors import ShelverError  # pydantic stays out of `shelver --help`

    if not isinstance(error, ShelverError):
        raise error
    is_operators = isinstance(error, ValueError)
    message = " ".join(str(error).split()) if is_operators else str(error)
    tell_error(message)
    return EXIT_USAGE if is_operators else EXIT_FAILED


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the process with its exit code.

    Args:
        arguments: the words after `shelver`; by default those of the process.

    Raises:
        SystemExit: always, with the exit code.
    """
    group = typer.main.get_command(app)
    try:
        group.main(args=arguments, prog_name="shelver")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        sys.exit(_report(error))
    sys.exit(0)
