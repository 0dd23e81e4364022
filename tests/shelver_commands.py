"""Whether words are a `shelver` command: parsed as the command line parses them, and not run."""

from collections.abc import Sequence

from typer.core import TyperGroup

from stream_app.cli import load_command


def parse(words: Sequence[str]) -> None:
    """Parse the words after `shelver`.

    Raises:
        ImportError, KeyError: there is no such command.
        click.exceptions.UsageError: an option or argument is unknown, missing or wrong.
    """
    name, *rest = words
    command = load_command(name)
    while isinstance(command, TyperGroup):
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, rest)
