"""A bar on standard error that shows how far a command has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with speed and time left, gone at the end; none where standard error is no terminal.

    Yields:
        A function to be called with how many are done, and of how many.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, speed="")

        def show(num_done: int, total: int) -> None:
            speed = f"{num_done / max(time.monotonic() - began, 0.001):,.0f}/s"
            bar.update(task, completed=num_done, total=total, speed=speed)

        yield show
