"""The sample catalogue: the same bytes for a seed, readable like any other, with products of every kind."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

from models.image.decoding import ImageLimits, decode_image
from schemas.catalogue import read_catalogue, read_label_names
from training.samples import SAMPLE_CATEGORIES, write_sample_catalogue


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = (path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in files)
    return hashlib.sha256(b"".join(content)).hexdigest()


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, second, other = (
        digest(write_sample_catalogue(tmp_path / name, 30, seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == second
    assert first != other


def test_it_reads_as_a_labelled_catalogue_with_names_and_pictures(tmp_path: Path) -> None:
    write_sample_catalogue(tmp_path, 120, 1)
    rows = list(read_catalogue(tmp_path))
    assert len(rows) == 120
    assert {row.split for row in rows} == {"train", "val"}
    assert {row.category for row in rows} == {str(category.code) for category in SAMPLE_CATEGORIES}
    assert set(read_label_names(tmp_path)) == {row.category for row in rows}
    pictures = [row.image_path for row in rows if row.image_path is not None]
    assert 60 <= len(pictures) < 120
    for picture in pictures:
        assert decode_image(picture.read_bytes(), 64, ImageLimits()).shape == (64, 64, 3)


def test_some_products_are_told_by_the_picture_only_some_by_the_text_only_some_by_either(
    tmp_path: Path,
) -> None:
    write_sample_catalogue(tmp_path, 200, 1)
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        kinds = Counter(row["kind"] for row in csv.DictReader(file))
    assert len(kinds) >= 3
    assert all(count >= 10 for count in kinds.values())
