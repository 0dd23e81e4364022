"""Catalogues: files of products, read one row at a time and turned into product-listed messages.

- A folder is read in the challenge's layout, see `schemas.challenge`.
- `.csv` and `.tsv` files have a column `product_id`, and may have `title`, `description`, `image`, `category`
  and `split`.
- `.jsonl` and `.ndjson` files have a product-listed body on each line, maybe with `category` and `split`.
- `.parquet` files have the columns of a CSV; `image` may also be a struct as in a product-listed body, or the
  bytes of the picture.

`productid`, `designation` and `prdtypecode` are accepted for `product_id`, `title` and `category`; other
fields are ignored. `image` is an address (`https:`, `http:`) or the name of a file in the folder of the
catalogue; no file outside that folder is read, since a catalogue may come from somebody else.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from schemas.catalogue_rows import CatalogueRow
from schemas.challenge import read_challenge, read_names
from schemas.codec import validate
from schemas.errors import CatalogueError, InvalidMessageError
from schemas.parquet import read_parquet
from schemas.products import ImageReference, ProductListed
from schemas.tables import Row, read_csv, read_json_lines

__all__ = ["CatalogueRow", "count_rows", "read_catalogue", "read_label_names"]

_LABEL_NAMES: Final = "label_names.csv"
_ADDRESSES: Final = ("https://", "http://")


def read_catalogue(path: Path, *, include_pseudo: bool = False) -> Iterator[CatalogueRow]:
    """Return the rows of a catalogue in the order of the file, read as they are asked for.

    Args:
        path: A folder in the challenge's layout, or a `.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.parquet` file.
        include_pseudo: Also the rows of a challenge folder whose category models gave.

    Raises:
        CatalogueError: There is no catalogue at `path`; while reading also for a row that is wrong.
    """
    if path.is_dir():
        return read_challenge(path, include_pseudo=include_pseudo)
    if not path.exists():
        raise CatalogueError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _product_rows(path, read_csv(path))
    if suffix in (".jsonl", ".ndjson"):
        return _product_rows(path, read_json_lines(path))
    if suffix == ".parquet":
        return _product_rows(path, read_parquet(path))
    raise CatalogueError(
        f"{path}: not a catalogue; it should be a folder in the challenge's layout "
        "or a file that ends in .csv, .tsv, .jsonl, .ndjson or .parquet"
    )


def count_rows(path: Path, *, include_pseudo: bool = False) -> int:
    """Return how many rows `read_catalogue` yields; reads all of them, but no picture.

    Raises:
        CatalogueError: As `read_catalogue`.
    """
    return sum(1 for _ in read_catalogue(path, include_pseudo=include_pseudo))


def read_label_names(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the names of categories: code as in the file -> language -> name.

    Args:
        path: A folder, where `label_names.csv` may be missing (then there are no names), or such a file, with
            the columns `prdtypecode` and one `label_<language>` for each language.

    Raises:
        CatalogueError: The file cannot be read or lacks the column of codes.
    """
    if not path.is_dir():
        return read_names(path)
    names = path / _LABEL_NAMES
    return read_names(names) if names.exists() else {}


def _product_rows(path: Path, rows: Iterable[Row]) -> Iterator[CatalogueRow]:
    for line, fields in rows:
        try:
            row = _product_row(path.parent, fields)
        except (InvalidMessageError, CatalogueError) as error:
            raise CatalogueError(f"{path}, line {line}: {error}") from error
        yield row


def _product_row(folder: Path, fields: Mapping[str, Any]) -> CatalogueRow:
    image, image_path = _picture(folder, fields.get("image"))
    body = {**fields, "image": image, "event_id": "-", "listed_at": None, "explain": None}
    listing = validate(ProductListed, body)
    return CatalogueRow(
        product_id=listing.product_id,
        title=listing.title,
        description=listing.description or "",
        image_path=image_path,
        category=_text_or_none(fields, "category", "prdtypecode"),
        split=_text_or_none(fields, "split"),
        image=listing.image,
    )


def _picture(folder: Path, image: object) -> tuple[object, Path | None]:
    """Return the image of the message, as it is in the file, or the path of the file it names."""
    if isinstance(image, Mapping) and "bytes" in image:  # as the datasets library stores pictures
        image = image["bytes"]
    if isinstance(image, bytes):
        return ImageReference(data=base64.b64encode(image).decode("ascii")) if image else None, None
    if not isinstance(image, str) or not image:
        return (None if image == "" else image), None
    if image.startswith(_ADDRESSES):
        return ImageReference(url=image), None
    path = folder / image
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CatalogueError(f"image {image!r} is outside the folder of the catalogue; move it there")
    if not path.is_file():
        raise CatalogueError(
            f"image {image!r} is not in the folder of the catalogue; leave it empty for none"
        )
    return None, path


def _text_or_none(fields: Mapping[str, Any], *names: str) -> str | None:
    """Return the text of the first of these fields that has a value."""
    value = next((fields[name] for name in names if fields.get(name) not in (None, "")), None)
    if value is None or type(value) in (str, int):
        return None if value is None else str(value)
    raise CatalogueError(f"{names[0]} should be a string or an integer, got {str(value)[:40]}")
