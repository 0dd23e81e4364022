"""What the demo shows: a live table of categories on a terminal, and the summary at the end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from schemas.assignments import CategoryAssigned
from schemas.dead_letters import Failure

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from stream_app.demonstration import Answer
    from stream_app.event_tally import TallySummary

__all__ = ["AnswerTable", "summary_table"]

NUM_ROWS = 14
TITLE_CHARACTERS = 44


class AnswerTable:
    """The latest answers as a table; rich renders it anew whenever it refreshes."""

    def __init__(self, num_events: int) -> None:
        self._num_events = num_events
        self._num_answers = 0
        self._latest: deque[Answer] = deque(maxlen=NUM_ROWS)

    def add(self, answer: Answer) -> None:
        """Show an answer at the bottom."""
        self._num_answers += 1
        self._latest.append(answer)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(
            title=f"{self._num_answers} of {self._num_events} products have come out",
            title_justify="left",
            box=box.SIMPLE_HEAD,
        )
        table.add_column("Product", no_wrap=True, width=TITLE_CHARACTERS)
        table.add_column("Picture")
        table.add_column("Category", no_wrap=True, max_width=30)
        table.add_column("Sure", justify="right")
        table.add_column("Age", justify="right")
        for answer in tuple(self._latest):
            table.add_row(*_cells(answer))
        yield table


def summary_table(summary: TallySummary, *, model: str, metrics: str) -> Table:
    """Everything that counts, for people."""
    table = Table(title="Demo", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("published", f"{summary.published}"),
        ("categories assigned", f"{summary.assigned}"),
        ("dead letters", f"{summary.dead_lettered}"),
        ("lost", f"{summary.lost}"),
        ("duplicates", f"{summary.duplicates}"),
        ("events a second", f"{summary.events_per_second:.0f}"),
        ("age at the answer, median", f"{summary.p50_ms:.0f} ms"),
        ("age at the answer, 99 %", f"{summary.p99_ms:.0f} ms"),
        ("model", escape(model)),
        ("metrics were at", metrics),
    ):
        table.add_row(name, value)
    return table


def _cells(answer: Answer) -> tuple[str, str, str, str, str]:
    title = "" if answer.listing is None else escape(answer.listing.title[:TITLE_CHARACTERS])
    age = "" if answer.latency_ms is None else f"{answer.latency_ms} ms"
    outcome = answer.outcome
    if isinstance(outcome, Failure):
        return title, "", f"[red]dead letter: {outcome.reason}[/red]", "", age
    return title, *_category_cells(outcome), age


def _category_cells(outcome: CategoryAssigned) -> tuple[str, str, str]:
    category = outcome.category
    return str(outcome.modalities.image), escape(category.label), f"{category.probability:.0%}"
