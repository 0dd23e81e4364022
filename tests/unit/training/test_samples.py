"""The sample catalogue: the same bytes for a seed, readable like any other, with products of every kind."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from models.image.decoding import ImageLimits, decode_image
from schemas.catalogue import read_catalogue, read_label_names
from training.samples import SAMPLE_CATEGORIES, write_sample_catalogue
from training.samples.__main__ import main


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


def test_the_command_fills_an_empty_folder_and_leaves_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(tmp_path / "drawn", products=30, seed=1)
    assert digest(tmp_path / "drawn") == digest(write_sample_catalogue(tmp_path / "same", 30, 1))
    capsys.readouterr()
    somebodys = tmp_path / "somebodys"
    somebodys.mkdir()
    (somebodys / "X_train_update.csv").write_text("theirs")
    main(somebodys)
    assert [file.name for file in somebodys.iterdir()] == ["X_train_update.csv"]
    assert "stays as it is" in capsys.readouterr().err


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
