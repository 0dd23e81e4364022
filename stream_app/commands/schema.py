"""`shelver schema`: the contract for producers, consumers and their tools."""

from __future__ import annotations

import json
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.export import Login, Service
    from stream_app.settings import Settings


def schema(
    *,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="Folder to write all of it to, one file a message.", file_okay=False
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page for people instead of the document.")
    ] = False,
) -> None:
    """Print the AsyncAPI document of the service, or write it and the JSON Schemas of all messages.

    Brokers, topics and the group are those of the settings. A folder gets `asyncapi.json` and two files a
    message: `<message>.schema.json` is for its value, `<message>.headers.schema.json` for its headers.
    Files of messages that are no more are left where they are.

    Raises:
        SettingsError: a setting is wrong, or the folder cannot be written.
    """
    from schemas.export import asyncapi_document, json_schemas
    from schemas.export_page import messages_page
    from stream_app.settings import load_settings

    document = asyncapi_document(described(load_settings()))
    if markdown:
        typer.echo(messages_page(document), nl=False)
    elif folder is None:
        typer.echo(_as_text(document), nl=False)
    else:
        files = {f"{name}.schema": found for name, found in json_schemas().items()}
        _write(folder, {"asyncapi": document, **files})


def described(settings: Settings) -> Service:
    """The service as these settings make it."""
    from schemas.export import Service, Topics
    from stream_app.broker_settings import servers

    return Service(
        version=distribution_version("shelver"),
        hosts=servers(settings.broker),
        topics=Topics(
            product_listed=settings.product_listed_topic,
            category_assigned=settings.category_assigned_topic,
            explanation_requested=settings.explanation_requested_topic,
            category_explained=settings.category_explained_topic,
            dead_letter=settings.dead_letter_topic,
            category_corrected=settings.category_corrected_topic,
        ),
        group=settings.group,
        is_encrypted=settings.broker_security_protocol.is_encrypted,
        login=_login(settings),
    )


def _login(settings: Settings) -> Login | None:
    from schemas.export import Login

    if settings.broker_sasl_mechanism is not None:
        return Login(str(settings.broker_sasl_mechanism), settings.broker_oauth_token_url)
    return Login(None) if settings.broker_certificate_file is not None else None


def _as_text(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _write(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    from stream_app.errors import SettingsError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / f"{name}.json").write_text(_as_text(content), encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    typer.echo(f"{len(files)} files in {folder}", err=True)
