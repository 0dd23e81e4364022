"""`shelver broker`: a real single-node Apache Kafka until Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_app.broker import EmbeddedBroker
from stream_app.kafka_distribution import KAFKA_VERSION, DownloadProgress


def broker(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")
    ] = 9092,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that keeps topics and offsets; a temporary one by default."),
    ] = None,
) -> None:
    """Run a real single-node Apache Kafka on loopback until Ctrl-C.

    The first start on a machine downloads Kafka (45 MB) into the user's cache folder; later ones need no
    network. Topics and committed offsets are lost at the end unless `--data` names a folder for them.

    Raises:
        BrokerError: the broker cannot start, or ended by itself.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with download_bar() as on_progress, EmbeddedBroker(data, port=port, on_progress=on_progress) as kafka:
            _announce(kafka, keeps_data=data is not None)
            kafka.wait()
    except KeyboardInterrupt:
        typer.echo("Kafka has stopped.", err=True)


def _announce(kafka: EmbeddedBroker, *, keeps_data: bool) -> None:
    kept = (
        f"kept in {kafka.data_dir}"
        if keeps_data
        else "lost at the end; name a folder with --data to keep them"
    )
    typer.echo(
        f"SHELVER_BROKER={kafka.url}; topics are {kept}; log in {kafka.log_file}; Ctrl-C stops it.", err=True
    )
    typer.echo(f"Kafka {KAFKA_VERSION} on {kafka.bootstrap}")


@contextmanager
def download_bar() -> Iterator[DownloadProgress]:
    """A progress bar on standard error, from the first file of a download to its end; otherwise nothing.

    Yields:
        What `EmbeddedBroker` takes as `on_progress`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("First start: downloading Kafka"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: list[Any] = []

    def report(name: str, done: int, total: int) -> None:
        if not tasks:
            bar.start()
            tasks.append(bar.add_task(name, total=None))
        bar.update(tasks[0], description=name, completed=done, total=total or None)
        if done == total > 0:
            bar.stop()

    try:
        yield report
    finally:
        # Stopping a bar that is not there prints an empty line.
        if bar.live.is_started:
            bar.stop()
