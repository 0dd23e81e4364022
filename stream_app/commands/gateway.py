"""`shelver gateway`: the HTTP edge."""

import asyncio
from typing import Annotated

import typer

from stream_app.commands.worker import settings_table
from stream_app.errors import SettingsError
from stream_app.settings import EdgeSettings, load_edge_settings


def gateway(
    broker: Annotated[str | None, typer.Option(help="Kafka brokers, kafka://host:port.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; this machine's own only.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port; 0 takes any free one.")] = None,
    model: Annotated[str | None, typer.Option(help="Model that the workers serve.")] = None,
    model_repository: Annotated[
        str | None, typer.Option(help="Folder or fsspec URL of the model repository.")
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting with its default and leave.")
    ] = False,
) -> None:
    """Serve the HTTP edge: products in by HTTP, answered when their categories arrive.

    Publishes to the topics that the workers read, and answers from those that they write; any number of
    gateways may run. Stops on SIGTERM or Ctrl-C after answering what it has begun. Every setting is an
    environment variable, listed below; the options are short forms of the usual ones.

    Raises:
        SettingsError: a setting is wrong, or the extra `gateway` is not installed.
        AccessError: the brokers turn this client away.
        TopicError: no broker answers.
    """
    chosen = load_edge_settings(
        broker=broker,
        gateway_host=host,
        gateway_port=port,
        model=model,
        model_repository=model_repository,
    )
    if settings:
        typer.echo(settings_table(EdgeSettings))
        return
    try:
        from stream_app.edge.serving import serve
    except ImportError as error:
        raise SettingsError(f"the gateway needs {error.name}: pip install 'shelver[gateway]'") from error
    asyncio.run(serve(chosen))


gateway.__doc__ = (
    (gateway.__doc__ or "").partition("\n\n    Raises:")[0]
    + "\n\n"
    + settings_table(EdgeSettings).replace("\n", "\n\n")
)
