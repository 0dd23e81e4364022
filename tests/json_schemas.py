"""Validators for what is exported: formats are checked too, which JSON Schema leaves to who validates."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker

from schemas.export import json_schemas

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_FORMATS: Final = FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if not _RFC_3339.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator of this schema."""
    return Draft202012Validator(schema, format_checker=_FORMATS)


SCHEMAS: Final = json_schemas()
VALIDATORS: Final = {name: validator(schema) for name, schema in SCHEMAS.items()}
"""By the name of the file, without its ending."""


def as_text(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Headers as their schema sees them: by name, the last value of each, as text."""
    return {name: (value or b"").decode(errors="replace") for name, value in headers}
