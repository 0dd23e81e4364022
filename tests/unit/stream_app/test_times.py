"""Times that commands are given."""

from datetime import UTC, datetime

import pytest

from stream_app.commands.times import parse_since
from stream_app.errors import SettingsError

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", "2026-01-31T11:58:30+00:00"),
        ("2h", "2026-01-31T10:00:00+00:00"),
        ("7d", "2026-01-24T12:00:00+00:00"),
        ("2026-01-30", "2026-01-30T00:00:00+00:00"),
        ("2026-01-30T08:00:00", "2026-01-30T08:00:00+00:00"),
        ("2026-01-30T08:00:00+02:00", "2026-01-30T08:00:00+02:00"),
        ("40000d", "1916-07-27T12:00:00+00:00"),
    ],
)
def test_since_is_so_long_ago_or_a_time_which_is_utc_unless_it_says_otherwise(
    text: str, expected: str
) -> None:
    assert parse_since(text, NOON).isoformat() == expected


@pytest.mark.parametrize(
    "text", ["", "h", "-2h", "2 h", "1.5h", "yesterday", "9" * 30 + "d", "²h", "2026-13-01"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no time; write 2h or 2026-"):
        parse_since(text, NOON)
