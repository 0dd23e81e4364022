"""`shelver keys`: who may ask the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_app.edge.key_file import add_key, ensure_key, read_keys, remove_key
from stream_app.edge.settings import Role
from stream_app.errors import SettingsError

AT_THE_NEXT_START = "A gateway that runs reads its keys at its next start."

keys = typer.Typer(
    name="keys",
    no_args_is_help=True,
    add_completion=False,
    help="Make, list and remove the API keys of the gateway.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who uses the key; logs of the gateway name it.")]
File = Annotated[Path | None, typer.Option(help="File of the keys.  [env: SHELVER_GATEWAY_API_KEYS_FILE]")]


@keys.command()
def add(
    name: Name,
    *,
    role: Annotated[list[Role], typer.Option("--role", help="What the key allows; repeatable.")],
    file: File = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help="New file for the key itself, which its owner alone may read; it is not printed then."
        ),
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="Only where there is none of this name, or --secret-file lost it.")
    ] = False,
) -> None:
    """Make a key: its name, roles and digest go to the file, the key itself is printed once.

    Raises:
        SettingsError: the name is taken or cannot be one, or a file cannot be read or written.
    """
    path = _file(file)
    if first:
        if secret_file is None:
            raise SettingsError(
                "--first wants --secret-file: whoever did not ask for a key would not look for it"
            )
        if not ensure_key(path, name, role, secret_file=secret_file):
            typer.echo(f"{name} has its key already, in {secret_file}.", err=True)
            return
    else:
        secret = add_key(path, name, role, secret_file=secret_file)
        if secret_file is None:
            typer.echo(secret)
    typer.echo(f"{name} has a new key in {path}. {AT_THE_NEXT_START}", err=True)


@keys.command("list")
def list_keys(*, file: File = None) -> None:
    """List names and roles; the keys themselves nobody knows.

    Raises:
        SettingsError: the file cannot be read, or is no list of keys.
    """
    path = _file(file)
    found = read_keys(path)
    for key in found:
        typer.echo(f"{key.name:<24} {', '.join(sorted(key.roles))}")
    typer.echo(f"{len(found)} keys in {path}", err=True)


@keys.command()
def remove(name: Name, *, file: File = None) -> None:
    """Take a key away.

    Raises:
        SettingsError: there is no such key, or the file cannot be read or written.
    """
    path = _file(file)
    left = remove_key(path, name)
    told = AT_THE_NEXT_START if left else "No key is left: a gateway does not start with this file."
    typer.echo(f"{name} has no key any more. {told}", err=True)


def _file(given: Path | None) -> Path:
    """The file of the option, or else of the gateway's setting."""
    if given is not None:
        return given
    from stream_app.settings import load_edge_settings

    path = load_edge_settings().gateway_api_keys_file
    if path is None:
        raise SettingsError("which file of keys? Name it with --file, or set SHELVER_GATEWAY_API_KEYS_FILE")
    return Path(path)
