"""The catalogue reader on the real rows of the challenge."""

from collections import Counter
from pathlib import Path

import pytest

from schemas.catalogue import count_rows, read_catalogue, read_label_names
from schemas.codec import decode, encode
from schemas.products import ProductListed

pytestmark = pytest.mark.realdata


def test_all_labelled_rows_are_read(rakuten_root: Path) -> None:
    rows = list(read_catalogue(rakuten_root))
    assert len(rows) == count_rows(rakuten_root) == 16_097
    assert Counter(row.split for row in rows) == {"train": 13_990, "val": 2_107}
    assert all(row.product_id.isdigit() and not row.pseudo for row in rows)
    assert len({row.product_id for row in rows}) == 16_097


def test_every_category_of_the_rows_has_a_name(rakuten_root: Path) -> None:
    names = read_label_names(rakuten_root)
    assert len(names) == 27
    assert {row.category for row in read_catalogue(rakuten_root)} == set(names)
    assert all(set(name) == {"fr", "en"} for name in names.values())


def test_all_pictures_are_found(rakuten_root: Path) -> None:
    pictures = {row.image_path for row in read_catalogue(rakuten_root) if row.image_path is not None}
    assert pictures == set((rakuten_root / "images" / "image_train").iterdir())
    assert len(pictures) == 1_340


def test_rows_without_text_have_a_picture(rakuten_root: Path) -> None:
    silent = [row for row in read_catalogue(rakuten_root) if not row.title and not row.description]
    assert len(silent) == 857
    assert None not in {row.image_path for row in silent}


def test_rows_with_categories_by_models_all_have_pictures(rakuten_root: Path) -> None:
    rows = [row for row in read_catalogue(rakuten_root, include_pseudo=True) if row.pseudo]
    assert len(rows) == 7_192
    assert {row.split for row in rows} == {"train"}
    assert len({row.image_path for row in rows} - {None}) == 7_192


def test_every_row_survives_the_way_over_kafka(rakuten_root: Path) -> None:
    for number, row in enumerate(read_catalogue(rakuten_root)):
        listing = row.to_listing(f"rakuten-{number}", inline_image=False)
        read = decode(ProductListed, encode(listing), default_event_id="unused")
        assert read == listing
        assert (read.product_id, read.title, read.description or "") == (
            row.product_id,
            row.title,
            row.description,
        )


def test_a_picture_goes_into_the_message_as_it_is(rakuten_root: Path) -> None:
    row = next(row for row in read_catalogue(rakuten_root) if row.image_path is not None)
    image = row.to_listing("e").image
    assert image is not None
    assert image.data is not None
    assert image.data.startswith("/9j/")
