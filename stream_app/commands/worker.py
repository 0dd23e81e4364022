"""`shelver worker`: the service."""

import asyncio
from typing import Annotated, Any

import typer
from pydantic_settings import BaseSettings

from stream_app.settings import PREFIX, Settings, load_settings


def worker(
    broker: Annotated[str | None, typer.Option(help="Kafka brokers, kafka://host:port.")] = None,
    model: Annotated[str | None, typer.Option(help="Model: name, name@version or name@alias.")] = None,
    model_repository: Annotated[
        str | None, typer.Option(help="Folder or fsspec URL of the model repository.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting with its default and leave.")
    ] = False,
) -> None:
    """Run the service: product-listed in, category-assigned out.

    Stops on SIGTERM or Ctrl-C after finishing what it has begun; what is unfinished is read again by the
    next worker. Every setting is an environment variable, listed below; the options are short forms of the
    usual ones.
    """
    chosen = load_settings(broker=broker, model=model, model_repository=model_repository, device=device)
    if settings:
        typer.echo(settings_table())
        return
    from stream_app.app import build_app
    from stream_app.lifecycle import run_until_stopped

    asyncio.run(run_until_stopped(build_app(chosen), stop_seconds=chosen.stop_seconds))


def settings_table(kind: type[BaseSettings] = Settings) -> str:
    """One line a setting: variable, default, description."""
    return "\n".join(_settings_line(name, field) for name, field in sorted(kind.model_fields.items()))


def _settings_line(name: str, field: Any) -> str:
    default = "none" if field.default is None else field.default
    return f"{PREFIX}{name.upper()} (default {default}): {field.description}"


worker.__doc__ = (worker.__doc__ or "") + "\n\n" + settings_table().replace("\n", "\n\n")
