"""`shelver publish`: a catalogue to product-listed records, every delivery awaited."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_app.commands.finite import finite

if TYPE_CHECKING:
    from stream_app.catalogue_publishing import Progress


def publish(
    *,
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="Challenge-layout folder, CSV, TSV, JSON Lines or Parquet file."),
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Ask for an explanation of each.")] = False,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, callback=finite, help="Listings a second; as fast as it goes by default."),
    ] = None,
    broker: Annotated[
        str | None, typer.Option(help="Kafka brokers, kafka://host:port.  [env: SHELVER_BROKER]")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Topic.  [env: SHELVER_PRODUCT_LISTED_TOPIC]")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object on standard output.")
    ] = False,
) -> None:
    """Publish the products of a catalogue as product-listed events, pictures inside.

    Exit code 0 means that the brokers have confirmed every one of them. An event's id follows from the
    product's content, so publishing an unchanged catalogue again gives the same ids.

    Raises:
        CatalogueError: the catalogue cannot be read; nothing has been published then.
        AccessError: the brokers turn this client away, or do not allow it to write to the topic.
        TopicError: no broker answers, or the topic does not exist.
        DeliveryError: the brokers stopped taking records.
    """
    from schemas.catalogue import read_catalogue
    from stream_app.catalogue_publishing import Progress, publish_catalogue
    from stream_app.commands.progress_bar import progress_bar
    from stream_app.settings import load_settings

    settings = load_settings(broker=broker, product_listed_topic=topic)
    # Read once before anything is sent: a catalogue that breaks off in the middle is refused as a whole.
    num_rows = sum(1 for _ in islice(read_catalogue(path), limit))
    progress = Progress()
    began = time.monotonic()
    try:
        with progress_bar("Publishing") as show:
            progress.on_change = lambda: show(progress.num_published + progress.num_failed, num_rows)
            progress.on_change()
            asyncio.run(
                publish_catalogue(
                    islice(read_catalogue(path), limit),
                    brokers=settings,
                    topic=settings.product_listed_topic,
                    progress=progress,
                    explain=explain,
                    per_second=rate,
                )
            )
    finally:
        _report(progress, num_rows, time.monotonic() - began, settings.product_listed_topic, as_json=as_json)
    if progress.num_failed:
        raise typer.Exit(1)


def _report(progress: Progress, num_rows: int, seconds: float, topic: str, *, as_json: bool) -> None:
    for failure in progress.failures:
        typer.echo(failure, err=True)
    if progress.num_failed > len(progress.failures):
        typer.echo(f"and {progress.num_failed - len(progress.failures)} more", err=True)
    typer.echo(
        f"{progress.num_published} of {num_rows} listings confirmed on {topic} in {seconds:.1f} s,"
        f" {progress.num_failed} failed",
        err=True,
    )
    if as_json:
        report = {
            "published": progress.num_published,
            "failed": progress.num_failed,
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(report))
