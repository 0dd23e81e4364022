"""Catalogues in Parquet: the same rows as in the other formats; what is no such file is told."""

import base64
import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.catalogue import CatalogueRow, read_catalogue
from schemas.errors import CatalogueError
from schemas.parquet import read_parquet

PICTURE = b"\x89PNG not really"


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path / "products.parquet", row_group_size=3)
    return path / "products.parquet"


def rows_of(path: Path) -> list[CatalogueRow]:
    return list(read_catalogue(path))


def test_columns_are_read_as_those_of_a_csv(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    path = write(
        tmp_path,
        productid=[3804725264, 1524831183200260097],
        designation=["Robot", "Livre"],
        description=[None, "<p>ancien</p>"],
        prdtypecode=[2583, 10],
        image=["a.jpg", None],
        split=["train", "val"],
    )
    first, second = rows_of(path)
    assert (first.product_id, first.title, first.description) == ("3804725264", "Robot", "")
    assert (first.category, first.split, first.image_path) == ("2583", "train", tmp_path / "a.jpg")
    assert (second.product_id, second.category, second.image_path) == ("1524831183200260097", "10", None)


@pytest.mark.parametrize(
    "image",
    [PICTURE, {"bytes": PICTURE, "path": "a.png"}, {"url": None, "data": base64.b64encode(PICTURE).decode()}],
)
def test_a_picture_may_be_in_the_file(tmp_path: Path, image: object) -> None:
    (row,) = rows_of(write(tmp_path, product_id=["1"], title=["x"], image=[image]))
    assert row.image is not None
    assert base64.b64decode(row.image.data or "") == PICTURE


def test_a_picture_may_be_an_address_or_nothing(tmp_path: Path) -> None:
    images = ["https://example.org/a.jpg", "", None]
    first, *others = rows_of(write(tmp_path, product_id=["1", "2", "3"], image=images))
    assert first.image is not None
    assert first.image.url == "https://example.org/a.jpg"
    assert [row.image for row in others] == [None, None]


def test_rows_keep_their_order_over_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path, product_id=list(range(1000)))
    assert [row.product_id for row in rows_of(path)] == [str(number) for number in range(1000)]
    assert [number for number, _ in read_parquet(path)] == list(range(1, 1001))


def test_times_come_as_text(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 11, 25, 8, tzinfo=dt.UTC)
    ((_, fields),) = read_parquet(write(tmp_path, product_id=[1], listed_at=[moment]))
    assert fields["listed_at"] == "2026-11-25T08:00:00+00:00"


def test_a_file_without_rows_has_none(tmp_path: Path) -> None:
    assert rows_of(write(tmp_path, product_id=pa.array([], pa.string()))) == []


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"product_id": [1.5]}, "row|line"),
        ({"title": ["x"]}, "product_id"),
        ({"product_id": ["1"], "title": [["x"]]}, "title"),
        ({"product_id": ["1"], "image": ["../../etc/passwd"]}, "outside the folder"),
        ({"product_id": ["1"], "category": [2583.0]}, "category should be a string or an integer"),
    ],
)
def test_rows_that_are_wrong_are_told_with_their_number(
    tmp_path: Path, columns: dict[str, Any], fault: str
) -> None:
    with pytest.raises(CatalogueError, match=fault) as caught:
        rows_of(write(tmp_path, **columns))
    assert "products.parquet, line 1" in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "hole"])
def test_what_is_no_whole_parquet_file_is_told(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path, product_id=[str(number) for number in range(2000)])
    data = path.read_bytes()
    hole = data[:8] + b"\xff" * 200 + data[208:]
    damaged = {"cut": data[:-30], "empty": b"", "text": b"product_id\n1\n", "hole": hole}[damage]
    path.write_bytes(damaged)
    with pytest.raises(CatalogueError, match="not a whole Parquet file"):
        rows_of(path)


def test_pyarrow_is_loaded_for_parquet_only() -> None:
    code = "import sys, schemas, schemas.catalogue; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
