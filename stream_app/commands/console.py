"""`shelver console`: the web page."""

import asyncio
import webbrowser
from typing import Annotated

import typer

from stream_app.commands.worker import settings_table
from stream_app.errors import SettingsError
from stream_app.settings import ConsoleProcessSettings, load_console_settings


def console(
    gateway: Annotated[str | None, typer.Option(help="Address of the gateway that is asked.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; this machine's own only.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port; 0 takes any free one.")] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting with its default and leave.")
    ] = False,
) -> None:
    """Serve the web page: try products, watch the stream, predict test sets, promote models.

    All of it goes through the gateway. Stops on SIGTERM or Ctrl-C. Every setting is an environment variable,
    listed below; the options are short forms of the usual ones.

    Raises:
        SettingsError: a setting is wrong, or the extra `console` is not installed.
    """
    chosen = load_console_settings(console_gateway_url=gateway, console_host=host, console_port=port)
    if settings:
        typer.echo(settings_table(ConsoleProcessSettings))
        return
    try:
        from stream_app.console.serving import serve
    except ImportError as error:
        raise SettingsError(f"the console needs {error.name}: pip install 'shelver[console]'") from error

    def announce(url: str) -> None:
        typer.echo(f"The console is at {url}")
        if open_browser:
            webbrowser.open(url)

    asyncio.run(serve(chosen, on_listening=announce))


console.__doc__ = (
    (console.__doc__ or "").partition("\n\n    Raises:")[0]
    + "\n\n"
    + settings_table(ConsoleProcessSettings).replace("\n", "\n\n")
)
