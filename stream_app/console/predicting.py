"""A test set on its way through the gateway: in pieces that it takes, and what came of each row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

from schemas.catalogue import read_catalogue
from schemas.catalogue_rows import CatalogueRow
from schemas.codec import encode
from schemas.errors import CatalogueError, MessageError
from schemas.products import ProductListed
from stream_app.console.answers import ASSIGNED, PENDING, Limits, Problem, ProductAnswer

__all__ = ["COLUMNS", "Prediction", "Progress", "read_rows", "read_upload"]

CHUNK_ROWS: Final = 32
MAX_FRUITLESS: Final = 3
"""Pieces in a row that nothing comes of, each waited for as long as the gateway does."""

_FRAME_BYTES: Final = 64 * 1024
COLUMNS: Final = (
    "product_id",
    "category",
    "label",
    "probability",
    "true_category",
    "status",
    "problem",
    "model",
)


def read_rows(path: Path, most: int) -> list[CatalogueRow]:
    """The first rows of a catalogue; pictures in files are not read yet.

    Raises:
        CatalogueError: it cannot be read.
    """
    return list(islice(read_catalogue(path), most))


def read_upload(name: str, content: bytes, most: int) -> list[CatalogueRow]:
    """The first rows of a file that a visitor sent; its pictures are in it, or at addresses.

    Raises:
        CatalogueError: it cannot be read.
    """
    with TemporaryDirectory(prefix="shelver-console-") as folder:
        # Of its name only the ending counts, which says what it is.
        path = Path(folder) / f"upload{Path(name).suffix.lower()}"
        path.write_bytes(content)
        try:
            return read_rows(path, most)
        except CatalogueError as error:
            raise CatalogueError(str(error).replace(str(path), "the file")) from error


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a prediction is, in rows."""

    total: int
    assigned: int
    failed: int

    @property
    def left(self) -> int:
        """Rows that have no outcome yet."""
        return self.total - self.assigned - self.failed


class Prediction:
    """The rows and what became of each; knows what to send next, and is told what came.

    A row keeps its event id, so what is sent again is answered and not classified again.

    Args:
        rows: of a catalogue.
    """

    def __init__(self, rows: Sequence[CatalogueRow]) -> None:
        self.rows = tuple(rows)
        self.outcomes: list[ProductAnswer | None] = [None] * len(self.rows)
        self._identifier = str(uuid4())
        self._fruitless = 0

    def next_chunk(self, limits: Limits) -> dict[int, ProductListed]:
        """The rows to send next, by their number; none where all is done.

        Rows that cannot be sent have their outcome at once.
        """
        chunk: dict[int, ProductListed] = {}
        most = min(CHUNK_ROWS, limits.max_products)
        left = limits.max_body_bytes - _FRAME_BYTES
        for number in self._waiting():
            listing = self._listing(number, limits)
            if listing is None:
                continue
            size = len(encode(listing)) + 1
            if len(chunk) == most or (chunk and size > left):
                break
            chunk[number] = listing
            left -= size
        return chunk

    def take(self, numbers: Iterable[int], answers: Iterable[ProductAnswer]) -> None:
        """Take in what became of rows, in their order."""
        before = self.progress.left
        for number, answer in zip(numbers, answers, strict=True):
            self.outcomes[number] = answer
        self._fruitless = 0 if self.progress.left < before else self._fruitless + 1

    @property
    def is_stalled(self) -> bool:
        """Whether no worker seems to answer."""
        return self._fruitless >= MAX_FRUITLESS

    def go_on(self) -> None:
        """Try again after a stall."""
        self._fruitless = 0

    @property
    def progress(self) -> Progress:
        """How far it is."""
        told = [outcome.status for outcome in self.outcomes if outcome is not None]
        assigned = told.count(ASSIGNED)
        return Progress(len(self.rows), assigned, len(told) - assigned - told.count(PENDING))

    def csv(self) -> str:
        """What became of each row so far, as CSV with a header."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(self.table())
        return buffer.getvalue()

    def table(self) -> Iterator[tuple[str, ...]]:
        """What became of each row so far, in the columns of the CSV."""
        for row, outcome in zip(self.rows, self.outcomes, strict=True):
            assigned = outcome.assigned if outcome else None
            problem = outcome.problem if outcome else None
            yield (
                row.product_id,
                "" if assigned is None else str(assigned.category.code),
                "" if assigned is None else assigned.category.label,
                "" if assigned is None else f"{assigned.category.probability:.6f}",
                row.category or "",
                "not sent" if outcome is None else outcome.status,
                "" if problem is None else problem.reason or problem.detail,
                "" if assigned is None else f"{assigned.model.name}@{assigned.model.version}",
            )

    def _waiting(self) -> list[int]:
        """Rows without an outcome, those that were never sent first."""
        unsent = [number for number, outcome in enumerate(self.outcomes) if outcome is None]
        sent = enumerate(self.outcomes)
        return unsent + [n for n, outcome in sent if outcome is not None and outcome.status == PENDING]

    def _listing(self, number: int, limits: Limits) -> ProductListed | None:
        """The listing of a row; None where it cannot be sent, which then is its outcome."""
        row = self.rows[number]
        try:
            listing = row.to_listing(f"{self._identifier}-{number}")
        except (CatalogueError, MessageError) as error:
            self.outcomes[number] = _refused(row, "invalid", str(error))
            return None
        most = min(limits.max_body_bytes, limits.max_record_bytes or limits.max_body_bytes) - _FRAME_BYTES
        if len(encode(listing)) > most:
            self.outcomes[number] = _refused(row, "too-large", f"it is larger than the {most} bytes that go")
            return None
        return listing


def _refused(row: CatalogueRow, kind: str, detail: str) -> ProductAnswer:
    problem = Problem(type=f"urn:shelver:problem:{kind}", detail=detail, reason=kind)
    return ProductAnswer(product_id=row.product_id, status="refused", problem=problem)
