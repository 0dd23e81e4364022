"""What `shelver dead-letters` shows."""

import pytest

from stream_app.commands.dead_letters import summary_line
from tests.unit.stream_app.records import PlainRecord


@pytest.mark.parametrize("timestamp", [-1, 0, 1_764_057_600_000, 2**55, 2**63 - 1])
def test_a_letter_with_any_timestamp_is_shown(timestamp: int) -> None:
    line = summary_line(PlainRecord(timestamp=timestamp))
    assert line.endswith("  foreign: no headers of Shelver")
