"""`shelver backfill`: listings of the past, scored by another version, beside the workers."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_app.commands.finite import finite

if TYPE_CHECKING:
    from stream_app.backfill_planning import BackfillOptions, BackfillProgress
    from stream_app.backfill_ranges import Offsets
    from stream_app.settings import Settings

NICENESS = 10
"""A tenth of the weight of what runs beside, where both want the same core."""
DEFAULT_OUTPUT = "category-assigned.backfill"


def backfill(
    *,
    since: Annotated[
        str | None, typer.Option(help="Listings written since: 2h, 7d ago, or an ISO time (UTC).")
    ] = None,
    offset: Annotated[
        list[str] | None,
        typer.Option(help="Or from an offset on: 0 for all there are, or 0:120 for partition 0; repeatable."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Version to score with: name@version or name@alias.  [env: SHELVER_MODEL]"),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.01, max=1, callback=finite, help="Of the time that it may work.")
    ] = 0.25,
    rate: Annotated[
        float | None, typer.Option(min=0.001, callback=finite, help="Most listings a second.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again, not where an earlier run came to.")
    ] = False,
    output: Annotated[str, typer.Option(help="Topic of the answers.")] = DEFAULT_OUTPUT,
    dead_letter_topic: Annotated[
        str | None, typer.Option(help="Topic of what is rejected; it is only counted by default.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Group that remembers what is done; by default shelver-backfill-NAME-VERSION."),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic of the listings.  [env: SHELVER_PRODUCT_LISTED_TOPIC]")
    ] = None,
    broker: Annotated[
        str | None, typer.Option(help="Kafka brokers, kafka://host:port.  [env: SHELVER_BROKER]")
    ] = None,
    model_repository: Annotated[
        str | None, typer.Option(help="Model repository.  [env: SHELVER_MODEL_REPOSITORY]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or cuda:N.  [env: SHELVER_DEVICE]")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object on standard output.")
    ] = False,
) -> None:
    """Score listings again with another version, beside the workers and at a bounded share.

    Everything from `--since` or `--offset` up to the end that the topic has now is answered on a topic of the
    backfill's own. A run that was stopped or killed goes on where it was. Exit code 0 means that everything
    is done; 130 that it was stopped (Ctrl-C, SIGTERM), and what was in flight is finished and remembered.

    Raises:
        SettingsError: an option is wrong, or a topic or group is the workers'.
        TopicError: no broker answers, a topic is missing, or nothing in it is meant.
        AccessError: the brokers turn this client away, or do not allow what it needs.
        ModelError: the version cannot be had.
        DeliveryError: the brokers stopped answering.
        FatalError: answers can no longer be written.
    """
    # Before anything starts a thread: threads take over the priority of the one that starts them.
    os.nice(NICENESS)
    from stream_app.backfill_planning import BackfillProgress
    from stream_app.cli import EXIT_INTERRUPTED
    from stream_app.commands.progress_bar import progress_bar

    settings, options = _chosen(
        {
            "broker": broker,
            "model": model,
            "model_repository": model_repository,
            "device": device,
            "product_listed_topic": topic,
        },
        _begin(since, offset or []),
        {
            "output_topic": output,
            "dead_letter_topic": dead_letter_topic,
            "group": group,
            "share": share,
            "per_second": rate,
            "restart": restart,
        },
    )
    progress, began = BackfillProgress(), time.monotonic()
    try:
        with progress_bar("Scoring again") as show:
            progress.on_change = lambda: show(progress.num_done, progress.num_offsets)
            asyncio.run(_run(settings, options, progress))
    finally:
        if progress.ranges:
            _report(options, progress, time.monotonic() - began, as_json=as_json)
    if not progress.is_finished:
        raise typer.Exit(EXIT_INTERRUPTED)


def _begin(since: str | None, offsets: list[str]) -> datetime | Offsets:
    from stream_app.backfill_ranges import Offsets
    from stream_app.commands.times import parse_since
    from stream_app.errors import SettingsError

    if (since is None) == (not offsets):
        raise SettingsError("say where to begin: --since 7d, or --offset 0 for all listings there are")
    if since is None:
        return Offsets.parse(offsets)
    now = datetime.now(UTC)
    moment = parse_since(since, now)
    if moment > now:
        raise SettingsError(f"--since {since} is in the future; a backfill scores what was listed before now")
    return moment


def _chosen(
    overrides: dict[str, Any], begin: datetime | Offsets, wanted: dict[str, Any]
) -> tuple[Settings, BackfillOptions]:
    """What the options say, with the version that an alias means now: one run is of one version."""
    from models.repository import ModelRepository
    from stream_app.backfill_planning import BackfillOptions
    from stream_app.settings import load_settings

    settings = load_settings(**overrides)
    repository = ModelRepository(settings.model_repository, cache_dir=settings.model_cache)
    version = repository.resolve(settings.model)
    group = wanted.pop("group") or f"shelver-backfill-{version.name}-{version.version}"
    options = BackfillOptions(version, begin, group=group, **wanted)
    options.check(settings)
    options.check(load_settings(**overrides | {"product_listed_topic": None}))  # --topic is not the workers'
    threads = settings.inference_threads or 1
    return settings.model_copy(update={"inference_threads": threads}), options


async def _run(settings: Settings, options: BackfillOptions, progress: BackfillProgress) -> None:
    from stream_app.backfill_planning import open_plan

    async with open_plan(settings, options, progress) as plan:
        if progress.is_finished:
            return
        _tell(settings, options, progress)
        from stream_app.backfilling import run_backfill
        from stream_app.stop_signals import stop_signals

        stopping = asyncio.Event()
        with stop_signals(stopping):
            await run_backfill(settings, plan, progress, stopping)


def _tell(settings: Settings, options: BackfillOptions, progress: BackfillProgress) -> None:
    from stream_app.backfill_ranges import told

    where = told((partition, each.first) for partition, each in progress.ranges.items())
    how = "goes on" if progress.resumed else "begins"
    typer.echo(
        f"{options.model} scores up to {progress.num_offsets} listings of {settings.product_listed_topic}"
        f" again; it {how} at {where} (group {options.group})",
        err=True,
    )


def _report(options: BackfillOptions, progress: BackfillProgress, seconds: float, *, as_json: bool) -> None:
    rejected = {str(reason): count for reason, count in progress.rejected.items()}
    if progress.resumed and not progress.num_offsets:
        summary = f"nothing to do: group {options.group} is at the end; --restart scores it again"
    else:
        summary = (
            f"{progress.num_assigned} listings assigned by {options.model} on {options.output_topic} in"
            f" {seconds:.1f} s, {progress.rejected.total()} rejected{f' {rejected}' if rejected else ''},"
            f" {progress.num_skipped} delistings skipped"
        )
    typer.echo(summary, err=True)
    if not progress.is_finished:
        left = progress.num_offsets - progress.num_done
        typer.echo(f"unfinished: {left} are left; the same command goes on with them", err=True)
    if as_json:
        report = {
            "model": str(options.model),
            "group": options.group,
            "topic": options.output_topic,
            "read": progress.num_read,
            "assigned": progress.num_assigned,
            "rejected": progress.rejected.total(),
            "reasons": rejected,
            "skipped": progress.num_skipped,
            "seconds": round(seconds, 3),
            "from": {partition: each.first for partition, each in progress.ranges.items()},
            "to": {partition: each.end for partition, each in progress.ranges.items()},
            "resumed": progress.resumed,
            "finished": progress.is_finished,
        }
        typer.echo(json.dumps(report))
