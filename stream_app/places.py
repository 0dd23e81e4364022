"""Where a record stands: topic, partition and offset, and its text `topic-partition-offset`."""

import re

__all__ = ["Place", "read_place"]

Place = tuple[str, int, int]
"""Topic, partition and offset."""

_TEXT = re.compile(r"(?P<topic>.+)-(?P<partition>[0-9]{1,10})-(?P<offset>[0-9]{1,19})", re.DOTALL)


def read_place(text: str) -> Place | None:
    """The place that a text names; None when it names none. Anybody may have written it."""
    found = _TEXT.fullmatch(text)
    return None if found is None else (found["topic"], int(found["partition"]), int(found["offset"]))
