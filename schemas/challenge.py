"""The Rakuten challenge's layout: a folder of CSV files whose first column says which rows belong together.

| file | columns | |
| --- | --- | --- |
| `X_train_update.csv` | index, designation, description, productid, imageid | needed |
| `Y_train_CVw08PX.csv` | index, prdtypecode | rows without one have no category |
| `rows.csv` | index, ..., split | rows without one have no split |
| `images/image_train/image_<imageid>_product_<productid>.jpg` | | rows without one have no picture |
| `X_test_update.csv`, `Y_test_pseudo.csv`, `images/image_test` | the same | categories that models gave |
| `label_names.csv` | prdtypecode, label_fr, label_en, ... | names of the categories |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from schemas.catalogue_rows import CatalogueRow
from schemas.errors import CatalogueError
from schemas.tables import read_csv

__all__ = ["read_challenge", "read_names"]

_TRAIN_TEXTS: Final = "X_train_update.csv"
_TRAIN_CATEGORIES: Final = "Y_train_CVw08PX.csv"
_TEST_TEXTS: Final = "X_test_update.csv"
_TEST_CATEGORIES: Final = "Y_test_pseudo.csv"
_SPLITS: Final = "rows.csv"
_CATEGORY: Final = "prdtypecode"
_NAME_PREFIX: Final = "label_"


def read_challenge(folder: Path, *, include_pseudo: bool = False) -> Iterator[CatalogueRow]:
    """Return the rows of a folder in this layout, in the order of `X_train_update.csv`, read as asked for.

    Categories, splits and the names of picture files are held in memory, texts are not.

    Args:
        folder: The folder.
        include_pseudo: After them those of `X_test_update.csv` that `Y_test_pseudo.csv` has a category for;
            their split is `train`.

    Raises:
        CatalogueError: There is no `X_train_update.csv`; while reading also for a row that is wrong.
    """
    if not (folder / _TRAIN_TEXTS).is_file():
        raise CatalogueError(f"{folder}: not a folder in the challenge's layout; it has no {_TRAIN_TEXTS}")
    return _rows(folder, include_pseudo=include_pseudo)


def read_names(path: Path) -> dict[str, dict[str, str]]:
    """Return code -> language -> name from a file such as `label_names.csv`.

    Raises:
        CatalogueError: The file cannot be read or lacks the column of codes.
    """
    return {
        _filled_cell(path, line, fields, _CATEGORY): {
            column.removeprefix(_NAME_PREFIX): name
            for column, name in fields.items()
            if column.startswith(_NAME_PREFIX) and name
        }
        for line, fields in read_csv(path)
    }


def _rows(folder: Path, *, include_pseudo: bool) -> Iterator[CatalogueRow]:
    categories = _column_by_index(folder / _TRAIN_CATEGORIES, _CATEGORY)
    splits = _column_by_index(folder / _SPLITS, "split")
    for index, row in _texts(folder / _TRAIN_TEXTS, folder / "images" / "image_train"):
        yield CatalogueRow(**row, category=categories.get(index), split=splits.get(index))
    if include_pseudo:
        yield from _pseudo_rows(folder)


def _pseudo_rows(folder: Path) -> Iterator[CatalogueRow]:
    categories = _column_by_index(folder / _TEST_CATEGORIES, _CATEGORY)
    if not categories:
        return
    for index, row in _texts(folder / _TEST_TEXTS, folder / "images" / "image_test"):
        if index in categories:
            yield CatalogueRow(**row, category=categories[index], split="train", pseudo=True)


def _texts(path: Path, pictures: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the index of each row and what it says of the product."""
    names = {picture.name for picture in pictures.iterdir()} if pictures.is_dir() else set()
    for line, fields in read_csv(path):
        product_id = _filled_cell(path, line, fields, "productid")
        picture = f"image_{_cell(path, fields, 'imageid')}_product_{product_id}.jpg"
        yield (
            _index(fields),
            {
                "product_id": product_id,
                "title": _cell(path, fields, "designation"),
                "description": _cell(path, fields, "description"),
                "image_path": pictures / picture if picture in names else None,
            },
        )


def _column_by_index(path: Path, column: str) -> dict[str, str]:
    """Return one column of a file by the index of its rows; empty when there is no such file."""
    if not path.is_file():
        return {}
    return {_index(fields): _filled_cell(path, line, fields, column) for line, fields in read_csv(path)}


def _index(fields: Mapping[str, str]) -> str:
    return next(iter(fields.values()))


def _cell(path: Path, fields: Mapping[str, str], column: str) -> str:
    if column not in fields:
        raise CatalogueError(f"{path}: no column {column}; the columns are {', '.join(map(repr, fields))}")
    return fields[column]


def _filled_cell(path: Path, line: int, fields: Mapping[str, str], column: str) -> str:
    if not (text := _cell(path, fields, column)):
        raise CatalogueError(f"{path}, line {line}: {column} is empty")
    return text
