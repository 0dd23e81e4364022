"""The short form of the ledger of faults: nothing is lost, whatever goes wrong."""

from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.e2e.faults.ledger import FAULTS, Fault, run_fault
from tests.e2e.faults.row import Row, count
from tests.e2e.faults.scene import SECONDS_OF_FLOW, Stage
from tests.integration.workers import Output

NUM_LISTINGS = 400
COVERED_ELSEWHERE = {
    "sigkill",
    "sigterm",
    "joins",
    "before-topic",
    "before-broker",
    "model-hangs",
    "input-recreated",
}
"""Tests of their own below tests/integration ask more of these."""


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if not fault.is_long and fault.name not in COVERED_ELSEWHERE],
    ids=lambda fault: fault.name,
)
async def test_nothing_is_lost(
    fault: Fault, kafka: EmbeddedBroker, demo_repository: Path, tmp_path: Path
) -> None:
    stage = Stage(demo_repository, tmp_path, NUM_LISTINGS, NUM_LISTINGS / SECONDS_OF_FLOW)
    row = await run_fault(fault, stage, kafka.bootstrap)
    assert row.sent == NUM_LISTINGS
    assert row.holds, row
    assert row.assigned == row.sent, row


def output(*assigned: tuple[str, str, str, int]) -> Output:
    """Event, assignment id, product, written at."""
    out = Output()
    for event, assignment, product, at_ms in assigned:
        out.assigned[event].append(assignment)
        out.messages.append({"event_id": event, "product_id": product})
        out.written_at_ms.setdefault(event, at_ms)
    return out


@pytest.mark.parametrize(
    ("out", "row"),
    [
        (
            output(("e-0", "a", "0", 1_000), ("e-1", "b", "1", 1_500)),
            Row("x", 2, 2, 0, 0, 0, 0, 0, 0.5),
        ),
        (output(("e-0", "a", "0", 1_000)), Row("x", 2, 1, 0, 1, 0, 0, 0, 0.0)),
        (
            output(("e-0", "a", "0", 1_000), ("e-0", "c", "0", 1_100), ("e-1", "b", "1", 1_000)),
            Row("x", 2, 2, 0, 0, 1, 1, 0, 0.0),
        ),
        (
            output(("e-1", "b", "0", 1_000), ("e-0", "a", "0", 1_000)),
            Row("x", 2, 2, 0, 0, 0, 0, 1, 0.0),
        ),
    ],
    ids=["kept", "lost", "two ids", "out of order"],
)
def test_a_row_counts_what_went_wrong(out: Output, row: Row) -> None:
    counted = count("x", {0: 1_000, 1: 1_000}, [out])
    assert counted == row
    assert counted.holds == (not (row.lost or row.unequal_ids or row.out_of_order))
