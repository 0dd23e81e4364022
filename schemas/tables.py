"""Rows of CSV and JSON Lines files, one at a time, with errors that name the file, the line and the fault."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from schemas.errors import CatalogueError, MessageError
from schemas.json_objects import parse_object

__all__ = ["Row", "read_csv", "read_json_lines"]

MAX_FIELD_CHARACTERS: Final = 16 * 1024 * 1024
"""The csv module stops at 131,072, which pasted HTML reaches; its limit is one for the whole process."""

_DELIMITERS: Final = (",", ";", "\t")

Row = tuple[int, Mapping[str, Any]]
"""The line a row starts on, from 1, and its fields by name."""


def read_csv(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header line, in constant memory; empty lines are skipped.

    The text is UTF-8, with or without a byte order mark. Fields are separated by commas, semicolons or tabs,
    whichever the header line has most of, and may run over several lines in double quotes.

    Raises:
        CatalogueError: The file cannot be read, is empty, or is not such a file.
    """
    records = _csv_records(path)
    _, names = next(records, (0, []))
    if not names:
        raise CatalogueError(f"{path}: the file is empty; it should start with a line of column names")
    for line, fields in records:
        if fields and len(fields) != len(names):
            raise CatalogueError(
                f"{path}, line {line}: {len(fields)} fields where the header has {len(names)}; "
                "a field with separators, quotes or line ends should be in double quotes"
            )
        if fields:
            yield line, dict(zip(names, fields, strict=True))


def read_json_lines(path: Path) -> Iterator[Row]:
    """Yield the objects of a file with one JSON object a line, in constant memory; empty lines are skipped.

    Raises:
        CatalogueError: The file cannot be read, or a line is not one JSON object.
    """
    number = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, parse_object(line)
    except OSError as error:
        raise _unreadable(path, error) from error
    except MessageError as error:
        raise CatalogueError(f"{path}, line {number}: {error}") from error


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line each record starts on and its fields; the first record is the header."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=_delimiter(lines), strict=True)
            for fields in reader:
                yield line, fields
                line = reader.line_num + 1
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        wrong = _first_line_not_utf8(path)
        raise CatalogueError(f"{path}, line {wrong}: not UTF-8; save the file as UTF-8") from error
    except csv.Error as error:
        raise CatalogueError(f"{path}, record starting on line {line}: {error}") from error


def _delimiter(lines: TextIO) -> str:
    header = lines.readline()
    lines.seek(0)
    return max(_DELIMITERS, key=header.count)


def _first_line_not_utf8(path: Path) -> int:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _unreadable(path: Path, error: OSError) -> CatalogueError:
    return CatalogueError(f"{path}: cannot be read: {error.strerror or error}")
