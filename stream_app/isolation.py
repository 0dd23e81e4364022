"""One bad item never harms its batch: find it by halving, keep the rest."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from stream_app.errors import FatalError

Item = TypeVar("Item")
Result = TypeVar("Result")


def isolate(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item]
) -> tuple[list[tuple[Sequence[Item], Result]], list[tuple[Item, Exception]]]:
    """Do ``work`` on all items at once, and on ever smaller halves of those it fails for.

    Costs one call when nothing fails; for each bad item among n, at most 2 log2(n) + 1 calls.

    Args:
        work: takes items, in order, and raises when it cannot deal with them.
        items: what to work on; none is fine.

    Returns:
        The parts that succeeded with their results, in order, and the items that failed with their errors.

    Raises:
        FatalError: as raised by ``work``; smaller parts would not help.
    """
    if not items:
        return [], []
    try:
        return [(items, work(items))], []
    except FatalError:
        raise
    except Exception as error:
        if len(items) == 1:
            return [], [(items[0], error)]
    middle = len(items) // 2
    first_done, first_failed = isolate(work, items[:middle])
    second_done, second_failed = isolate(work, items[middle:])
    return first_done + second_done, first_failed + second_failed
