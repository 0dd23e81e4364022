"""Rows of Parquet files, a few at a time; needs pyarrow, which is imported only when such a file is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import CatalogueError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_parquet"]

_ROWS_AT_A_TIME: Final = 512


def read_parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the number of each row, from 1, and its fields by name; the memory does not grow with the file.

    Dates and times come as ISO 8601 text; everything else as what it is in Python.

    Raises:
        CatalogueError: the file cannot be read, is not such a file, or pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise CatalogueError(f"{path}: Parquet needs pyarrow: pip install pyarrow, or use CSV") from error
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME):
                for fields in _rows(batch):
                    number += 1
                    yield number, fields
    except (OSError, pa.ArrowException) as error:
        raise CatalogueError(
            f"{path}, after row {number}: not a whole Parquet file, write it again ({str(error)[:120]})"
        ) from error


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    for fields in batch.to_pylist():
        yield {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
