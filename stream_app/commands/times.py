"""Times as they are written on a command line."""

from datetime import UTC, datetime, timedelta

from stream_app.errors import SettingsError

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_since(text: str, now: datetime) -> datetime:
    """The moment that ``2h`` (before ``now``) or an ISO time means.

    Raises:
        SettingsError: it is neither.
    """
    try:
        if text[-1:] in UNITS and text[:-1].isdecimal():
            return now - timedelta(**{UNITS[text[-1]]: int(text[:-1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise SettingsError(f"--since {text[:40]!r} is no time; write 2h or 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
