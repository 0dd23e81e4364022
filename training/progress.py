"""Progress of the long steps on standard error: live in a terminal, one line a step in a log file."""

from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["new_progress", "show_step", "track"]


def new_progress() -> Progress:
    """A bar on standard error; tasks may carry a `note` that is shown behind it."""
    return Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        refresh_per_second=4,
    )


def track[ChunkT: Sized](chunks: Sequence[ChunkT], description: str) -> Iterator[ChunkT]:
    """Yield the chunks while a bar counts what they hold."""
    with new_progress() as progress:
        task = progress.add_task(description, total=sum(map(len, chunks)), note="")
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))


@contextmanager
def show_step(description: str) -> Iterator[None]:
    """Show that something without a count is going on, and how long it took."""
    with new_progress() as progress:
        task = progress.add_task(description, total=1, note="")
        yield
        progress.advance(task)
