"""`shelver watch`: what comes out, as a live table, as lines or as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.assignments import CategoryAssigned
from schemas.dead_letters import Failure
from schemas.explanations import CategoryExplained, Explanation
from stream_app.watching import Outcome, used_evidence

if TYPE_CHECKING:
    from rich.table import Table

    from stream_app.settings import Settings

REFRESHES_PER_SECOND = 4
MAX_WORDS = 3
LINES_AROUND_ROWS = 6
"""Title, head and the terminal's last line."""

Show = Callable[[Outcome], None]


def watch(
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="Leave after so many.")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with what the topics hold already.")
    ] = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="One JSON object a line.")] = False,
    latency: Annotated[
        bool, typer.Option(help="Read the listings too, to tell how old each was when it came out.")
    ] = True,
    broker: Annotated[
        str | None, typer.Option(help="Kafka brokers, kafka://host:port.  [env: SHELVER_BROKER]")
    ] = None,
) -> None:
    """Watch the categories, explanations and dead letters that come out, until Ctrl-C.

    A table of the latest on a terminal, otherwise a line for each.

    Raises:
        AccessError: the brokers turn this client away, or do not allow it to read a topic.
        TopicError: no broker answers.
    """
    from stream_app.settings import load_settings

    settings = load_settings(broker=broker)
    try:
        with _shown(json_lines=json_lines) as show:
            asyncio.run(_run(settings, show, limit, from_beginning=from_beginning, latency=latency))
    except KeyboardInterrupt:
        return


async def _run(
    settings: Settings, show: Show, limit: int | None, *, from_beginning: bool, latency: bool
) -> None:
    from stream_app.watching import watch as read

    def tell_missing(missing: list[str]) -> None:
        typer.echo(f"Waiting for {', '.join(missing)}; `shelver worker` creates them.", err=True)

    def tell_ready() -> None:
        typer.echo(f"Watching {settings.broker}; Ctrl-C ends it.", err=True)

    lists = read(
        settings,
        settings,
        from_beginning=from_beginning,
        with_latency=latency,
        on_waiting=tell_missing,
        on_ready=tell_ready,
    )
    num_shown = 0
    async with aclosing(lists):
        async for outcomes in lists:
            for outcome in outcomes[: None if limit is None else limit - num_shown]:
                show(outcome)
            num_shown += len(outcomes)
            if limit is not None and num_shown >= limit:
                return


@contextmanager
def _shown(*, json_lines: bool) -> Iterator[Show]:
    if json_lines:
        yield lambda outcome: typer.echo(as_json(outcome))
    elif not sys.stdout.isatty():
        yield lambda outcome: typer.echo("  ".join(cells(outcome)))
    else:
        with _live_table() as show:
            yield show


def cells(outcome: Outcome) -> tuple[str, ...]:
    """Time, product, category, probability, evidence and age; control characters are escaped."""
    at = outcome.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
    age = "-" if outcome.latency_ms is None else f"{outcome.latency_ms} ms"
    return tuple(map(_printable, (at, outcome.product_id or "-", *_result_cells(outcome.result), age)))


def _result_cells(result: CategoryAssigned | CategoryExplained | Failure | str) -> tuple[str, str, str]:
    if isinstance(result, CategoryAssigned):
        category = result.category
        evidence = used_evidence(result.modalities, result.image_reason)
        return f"{category.code} {category.label}", f"{category.probability:.1%}", evidence
    if isinstance(result, CategoryExplained):
        return f"why {' | '.join(map(_why, result.explanations))}", "-", "explained"
    if isinstance(result, Failure):
        return f"dead letter: {result.reason} ({result.stage}): {result.message}", "-", "-"
    return f"cannot be read: {result}", "-", "-"


def _why(explanation: Explanation) -> str:
    """The category and what counts most: ``2583 Piscines: piscine +2.31, picture +0.40``."""
    loudest = sorted(explanation.text, key=lambda span: -abs(span.attribution))[:MAX_WORDS]
    reasons = [f"{span.text} {span.attribution:+.2f}" for span in loudest]
    if explanation.image is not None:
        reasons.append(f"picture {explanation.by_modality.image:+.2f}")
    category = explanation.category
    return f"{category.code} {category.label}: {', '.join(reasons)}"


def as_json(outcome: Outcome) -> str:
    """One line of JSON: ``kind`` is category-assigned, category-explained, dead-letter or unreadable."""
    fields: dict[str, Any]
    if isinstance(outcome.result, CategoryAssigned):
        fields = {"kind": "category-assigned", "assigned": outcome.result.model_dump(mode="json")}
    elif isinstance(outcome.result, CategoryExplained):
        fields = {"kind": "category-explained", "explained": outcome.result.model_dump(mode="json")}
    elif isinstance(outcome.result, Failure):
        failure = outcome.result
        fields = {
            "kind": "dead-letter",
            "stage": failure.stage,
            "reason": failure.reason,
            "message": failure.message,
            "source": failure.source,
        }
    else:
        fields = {"kind": "unreadable", "message": outcome.result}
    common = {
        "at": outcome.at.isoformat().replace("+00:00", "Z"),
        "product_id": outcome.product_id,
        "latency_ms": outcome.latency_ms,
    }
    return json.dumps({**common, **fields})


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text[:200]
    )


@contextmanager
def _live_table() -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    table = LatestTable(num_rows=max(1, console.height - LINES_AROUND_ROWS))
    with Live(console=console, get_renderable=table.render, refresh_per_second=REFRESHES_PER_SECOND):
        yield table.add


class LatestTable:
    """The latest outcomes as a table, newest last, with counts and speed in its title.

    Args:
        num_rows: how many are shown.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, num_rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._latest: deque[Outcome] = deque(maxlen=num_rows)
        self._clock = clock
        self._began = clock()
        self._num_assigned = 0
        self._num_explained = 0
        self._num_failed = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome and show it."""
        self._latest.append(outcome)
        if isinstance(outcome.result, CategoryAssigned):
            self._num_assigned += 1
        elif isinstance(outcome.result, CategoryExplained):
            self._num_explained += 1
        else:
            self._num_failed += 1

    def render(self) -> Table:
        """The table as it is now."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        counts = {
            "categories": self._num_assigned,
            "explanations": self._num_explained,
            "dead letters": self._num_failed,
        }
        per_second = sum(counts.values()) / max(self._clock() - self._began, 1.0)
        shown = (f"{count} {name}" for name, count in counts.items() if count or name != "explanations")
        title = f"{', '.join(shown)}, {per_second:.1f}/s"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, expand=True)
        for name in ("Time", "Product", "Category", "Probability", "Evidence", "Age"):
            right = name in ("Probability", "Age")
            table.add_column(name, no_wrap=True, justify="right" if right else "left", overflow="ellipsis")
        for outcome in tuple(self._latest):
            style = "" if isinstance(outcome.result, CategoryAssigned | CategoryExplained) else "red"
            table.add_row(*(Text(cell, style=style) for cell in cells(outcome)))
        return table
