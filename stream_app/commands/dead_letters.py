"""`shelver dead-letters`: what could not be served, and another try at it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.dead_letters import Reason, Stage, read_failure
from stream_app.commands.finite import finite
from stream_app.commands.times import parse_since

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from stream_app.letter_replay import ReplayOptions, ReplayProgress
    from stream_app.settings import Settings

SHOWN_BYTES = 1_000
SHOWN_REFUSALS = 20

dead_letters = typer.Typer(
    name="dead-letters",
    no_args_is_help=True,
    add_completion=False,
    help="List dead letters, and send them back to be tried again.",
)

Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="Only of this reason; repeatable.")]
Stages = Annotated[list[Stage] | None, typer.Option("--stage", help="Only of this stage; repeatable.")]
Source = Annotated[str | None, typer.Option("--topic", help="Only those that came from this topic.")]
Since = Annotated[
    str | None, typer.Option(help="Only written since: 90s, 30m, 2h, 7d ago, or an ISO time (UTC).")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Leave after so many.")]
Broker = Annotated[str | None, typer.Option(help="Kafka brokers, kafka://host:port.  [env: SHELVER_BROKER]")]
AsJson = Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")]


@dead_letters.command("list")
def list_letters(
    *,
    reason: Reasons = None,
    stage: Stages = None,
    topic: Source = None,
    since: Since = None,
    limit: Limit = None,
    body: Annotated[bool, typer.Option("--body", help="Show key, headers and value, escaped.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Don't cut what --body shows.")] = False,
    broker: Broker = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first in each partition, and count them by reason."""
    from stream_app.replaying import Selection
    from stream_app.settings import load_settings

    settings = load_settings(broker=broker)
    moment = parse_since(since, datetime.now(UTC)) if since else None
    selection = Selection(tuple(reason or ()), tuple(stage or ()), topic)
    length = None if full else SHOWN_BYTES

    def show(letter: ConsumerRecord) -> None:
        for line in (summary_line(letter), *(body_lines(letter, length) if body else ())):
            typer.echo(line, err=as_json)

    counts = asyncio.run(_list(settings, selection, moment, limit, show))
    for name, count in counts.most_common():
        typer.echo(f"{count:>8}  {name}", err=True)
    typer.echo(f"{counts.total()} dead letters in {settings.dead_letter_topic}", err=True)
    if as_json:
        typer.echo(json.dumps({"dead_letters": counts.total(), "reasons": dict(counts)}))


async def _list(
    settings: Settings, selection: Any, since: datetime | None, limit: int | None, show: Any
) -> Counter[str]:
    from contextlib import aclosing

    from stream_app.record_batches import read_any_batch
    from stream_app.topic_reading import open_stretch, read

    read_any_batch(settings.max_unpacked_bytes)
    counts: Counter[str] = Counter()
    async with open_stretch(settings, settings.dead_letter_topic, since=since) as letters:
        found = read(letters)
        async with aclosing(found):
            async for letter in found:
                failure = read_failure(letter.headers)
                if not selection.has(failure):
                    continue
                show(letter)
                counts["foreign" if failure is None else str(failure.reason)] += 1
                if limit is not None and counts.total() >= limit:
                    break
    return counts


def summary_line(letter: ConsumerRecord) -> str:
    """Place, time, stage, reason, source, attempts and message of a letter, without control characters."""
    failure = read_failure(letter.headers)
    place = f"{letter.partition}-{letter.offset}  {_time(letter.timestamp)}"
    if failure is None:
        return f"{place}  foreign: no headers of Shelver"
    told = (
        f"{failure.stage}/{failure.reason}  {failure.source}  attempts {failure.attempts}  {failure.message}"
    )
    return f"{place}  {printable(told)}"


def _time(timestamp_ms: int) -> str:
    """An ISO time; any number may be written as a record's timestamp."""
    try:
        return datetime.fromtimestamp(max(0, timestamp_ms) / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"timestamp {timestamp_ms}"


def body_lines(letter: ConsumerRecord, length: int | None) -> list[str]:
    """Key, headers and value of a letter, escaped; each cut at so many bytes."""
    headers = [f"    {printable(name)}: {_content(value, length)}" for name, value in letter.headers]
    return [
        f"    key: {_content(letter.key, length)}",
        *headers,
        f"    value: {_content(letter.value, length)}",
    ]


def printable(text: str) -> str:
    """Text that a terminal may see: everything else is escaped."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _content(value: bytes | None, length: int | None) -> str:
    if value is None:
        return "null"
    cut = value if length is None else value[:length]
    more = f" ... ({len(value)} bytes)" if len(cut) < len(value) else ""
    return printable(cut.decode(errors="backslashreplace")) + more


@dead_letters.command("replay")
def replay_letters(
    *,
    reason: Reasons = None,
    stage: Stages = None,
    topic: Source = None,
    since: Since = None,
    limit: Limit = None,
    rate: Annotated[float, typer.Option(min=0.001, callback=finite, help="Letters a second.")] = 10.0,
    max_attempts: Annotated[
        int, typer.Option(min=2, help="Letters tried so often are left alone; a first failure is one.")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Forget what was replayed before.")] = False,
    broker: Broker = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to the topic they came from, each once; refused ones are told, with why.

    What was dealt with is remembered in the consumer group `<SHELVER_GROUP>.dead-letters`.
    """
    from stream_app.commands.progress_bar import progress_bar
    from stream_app.letter_replay import ReplayOptions, ReplayProgress
    from stream_app.replaying import Selection
    from stream_app.settings import load_settings

    settings = load_settings(broker=broker)
    options = ReplayOptions(
        Selection(tuple(reason or ()), tuple(stage or ()), topic),
        since=parse_since(since, datetime.now(UTC)) if since else None,
        limit=limit,
        per_second=rate,
        max_attempts=max_attempts,
        dry_run=dry_run,
        again=again,
    )
    progress = ReplayProgress()
    progress.on_refused = lambda letter, why: _tell_refused(progress, letter, why)
    try:
        with progress_bar("Replaying") as show:
            progress.on_change = lambda: show(progress.num_read, progress.num_letters)
            asyncio.run(_replay(settings, options, progress))
    finally:
        _report(progress, dry_run=dry_run, as_json=as_json)


async def _replay(settings: Settings, options: ReplayOptions, progress: ReplayProgress) -> None:
    from stream_app.letter_replay import replay
    from stream_app.record_batches import read_any_batch

    read_any_batch(settings.max_unpacked_bytes)
    await replay(
        settings,
        settings.dead_letter_topic,
        f"{settings.group}.dead-letters",
        (
            settings.product_listed_topic,
            settings.explanation_requested_topic,
            settings.category_corrected_topic,
        ),
        options,
        progress,
    )


def _tell_refused(progress: ReplayProgress, letter: ConsumerRecord, why: str) -> None:
    if progress.refused.total() <= SHOWN_REFUSALS:
        typer.echo(f"not replayed: {letter.partition}-{letter.offset}: {printable(why)}", err=True)


def _report(progress: ReplayProgress, *, dry_run: bool, as_json: bool) -> None:
    refused = {str(name): count for name, count in progress.refused.items()}
    typer.echo(
        f"{progress.num_replayed} letters {'would be ' if dry_run else ''}replayed,"
        f" {progress.refused.total()} refused {refused or ''}, {progress.num_known} dealt with before",
        err=True,
    )
    if as_json:
        report = {"replayed": progress.num_replayed, "refused": refused, "known": progress.num_known}
        typer.echo(json.dumps(report))
