"""What became of the listings of one run, counted."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.integration.workers import Output

NUM_PRODUCTS = 53
"""Keys: every product is listed again and again, so that the order within a key can be told."""


@dataclass(frozen=True)
class Row:
    """One fault and what it did.

    Attributes:
        fault: its name in the table of faults.
        sent: listings that the brokers confirmed.
        assigned: of these, with a category.
        dead_lettered: of these, with a dead letter and no category.
        lost: of these, with neither.
        duplicates: categories beyond the first of an event.
        unequal_ids: events whose duplicates differ in their id.
        out_of_order: events whose first category came after that of a later listing of the same product.
        seconds_to_recover: from sending a listing to its first category, for the one that waited longest.
    """

    fault: str
    sent: int
    assigned: int
    dead_lettered: int
    lost: int
    duplicates: int
    unequal_ids: int
    out_of_order: int
    seconds_to_recover: float

    @property
    def holds(self) -> bool:
        """Whether the promise was kept: nothing lost, duplicates with one id, keys in order."""
        return not (self.lost or self.unequal_ids or self.out_of_order)


def event_id(number: int) -> str:
    """Of the listing with this number."""
    return f"e-{number}"


def product_id(number: int) -> str:
    """Of the listing with this number."""
    return str(number % NUM_PRODUCTS)


def came_out(outputs: Iterable[Output]) -> set[str]:
    """Events that have a category or a dead letter."""
    return {event for output in outputs for event in (*output.assigned, *_dead_events(output))}


def count(fault: str, sent_at_ms: Mapping[int, int], outputs: Sequence[Output]) -> Row:
    """Count a run.

    Args:
        fault: its name.
        sent_at_ms: when each numbered listing was sent, in ms since the epoch.
        outputs: what came out, of one topic after the other where it was made anew.
    """
    expected = {event_id(number) for number in sent_at_ms}
    ids: dict[str, list[str]] = {}
    for output in outputs:
        for event, assignment_ids in output.assigned.items():
            ids.setdefault(event, []).extend(assignment_ids)
    dead = {event for output in outputs for event in _dead_events(output)} - set(ids)
    return Row(
        fault,
        sent=len(expected),
        assigned=len(expected & set(ids)),
        dead_lettered=len(expected & dead),
        lost=len(expected - set(ids) - dead),
        duplicates=sum(len(assignment_ids) - 1 for assignment_ids in ids.values()),
        unequal_ids=sum(len(set(assignment_ids)) > 1 for assignment_ids in ids.values()),
        out_of_order=_out_of_order(outputs),
        seconds_to_recover=_longest_wait_seconds(sent_at_ms, outputs),
    )


def _dead_events(output: Output) -> Iterable[str]:
    return (json.loads(value)["event_id"] for _, value, _ in output.dead if value is not None)


def _out_of_order(outputs: Iterable[Output]) -> int:
    latest: dict[str, int] = {}
    seen: set[str] = set()
    num_late = 0
    for message in (message for output in outputs for message in output.messages):
        event, product = str(message["event_id"]), str(message["product_id"])
        if event in seen:
            continue
        seen.add(event)
        number = int(event.removeprefix("e-"))
        num_late += number < latest.get(product, -1)
        latest[product] = max(number, latest.get(product, -1))
    return num_late


def _longest_wait_seconds(sent_at_ms: Mapping[int, int], outputs: Iterable[Output]) -> float:
    first: dict[str, int] = {}
    for output in outputs:
        for event, at_ms in output.written_at_ms.items():
            first.setdefault(event, at_ms)
    waits = (first[event_id(n)] - at_ms for n, at_ms in sent_at_ms.items() if event_id(n) in first)
    return max(waits, default=0) / 1000
