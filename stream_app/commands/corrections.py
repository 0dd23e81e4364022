"""`shelver corrections`: what people said of categories, as rows to train on."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_app.commands.times import parse_since

if TYPE_CHECKING:
    from stream_app.correction_export import ExportProgress

corrections = typer.Typer(
    name="corrections",
    no_args_is_help=True,
    add_completion=False,
    help="Write what people corrected as rows to train on.",
)


@corrections.callback()
def _group() -> None:
    """Write what people corrected as rows to train on."""


@corrections.command("export")
def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="JSON Lines file to write, .jsonl.")],
    *,
    since: Annotated[
        str | None,
        typer.Option(help="Only corrections since: 90s, 30m, 2h, 7d ago, or an ISO time (UTC)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    broker: Annotated[
        str | None, typer.Option(help="Kafka brokers, kafka://host:port.  [env: SHELVER_BROKER]")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object on standard output.")
    ] = False,
) -> None:
    """Write the latest correction of each product with its listing, as a catalogue that training reads.

    The file is written whole or not at all. `shelver train data.root=OUT` and `shelver evaluate NAME OUT`
    read it.

    Raises:
        SettingsError: the file is there already, cannot be written or has another ending.
        TopicError: no broker answers, or a topic does not exist.
        AccessError: the brokers do not allow reading a topic.
        DeliveryError: the brokers stopped answering.
    """
    from stream_app.commands.progress_bar import progress_bar
    from stream_app.correction_export import ExportProgress, check_output, export_corrections
    from stream_app.record_batches import read_any_batch
    from stream_app.settings import load_settings

    settings = load_settings(broker=broker)
    moment = parse_since(since, datetime.now(UTC)) if since else None
    check_output(out, force=force)
    read_any_batch(settings.max_unpacked_bytes)
    progress = ExportProgress()
    with progress_bar("Exporting") as show:
        progress.on_change = lambda: show(progress.num_done, progress.num_total)
        asyncio.run(export_corrections(settings, out, progress, since=moment))
    _report(progress, out, as_json=as_json)


def _report(progress: ExportProgress, out: Path, *, as_json: bool) -> None:
    typer.echo(
        f"{progress.num_exported} rows in {out}; left out: {progress.num_gone} whose listing is gone, "
        f"{progress.num_unknown} without an assignment, {progress.num_withdrawn} withdrawn, "
        f"{progress.num_unusable} records that are no correction",
        err=True,
    )
    if as_json:
        report = {
            "exported": progress.num_exported,
            "listings_gone": progress.num_gone,
            "unknown": progress.num_unknown,
            "withdrawn": progress.num_withdrawn,
            "unusable": progress.num_unusable,
        }
        typer.echo(json.dumps(report))
