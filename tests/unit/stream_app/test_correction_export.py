"""Rows to train on: the latest word on a product counts, and a row is read back as it was listed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import read_catalogue
from schemas.corrections import CategoryCorrected, CorrectCategory
from schemas.products import ProductListed
from stream_app.correction_export import LatestCorrections, check_output, training_row
from stream_app.errors import SettingsError
from tests.strategies import category_codes, products
from tests.unit.stream_app.records import PlainRecord

MAX_BYTES = 2**20


def said(
    offset: int, code: object, *, partition: int = 0, timestamp: int = 0, key: bytes = b"p"
) -> PlainRecord:
    """A record that names a category; None withdraws."""
    body = (
        None
        if code is None
        else json.dumps({"product_id": key.decode(), "category": {"code": code}}).encode()
    )
    return PlainRecord("corrected", partition, offset, timestamp, key, body)


def codes(*records: PlainRecord) -> dict[str, int | str]:
    latest = LatestCorrections()
    for record in records:
        latest.add(record, max_bytes=MAX_BYTES)
    return {each.product_id: each.category.code for each in latest.corrections}


@given(st.lists(st.tuples(st.sampled_from([b"p", b"q"]), st.none() | st.integers(1, 9)), max_size=20))
def test_the_last_word_on_each_product_counts_and_null_takes_it_back(
    came: list[tuple[bytes, int | None]],
) -> None:
    last = {key.decode(): code for key, code in came}
    records = [said(offset, code, key=key) for offset, (key, code) in enumerate(came)]
    assert codes(*records) == {key: code for key, code in last.items() if code is not None}


def test_in_a_partition_offsets_count_and_between_two_of_them_times() -> None:
    assert codes(said(5, 1, timestamp=9), said(6, 2, timestamp=3)) == {"p": 2}
    assert codes(said(6, 2), said(5, 1)) == {"p": 2}
    assert codes(said(0, 1, timestamp=9), said(7, 2, partition=1, timestamp=3)) == {"p": 1}
    assert codes(said(0, 1, timestamp=3), said(7, 2, partition=1, timestamp=9)) == {"p": 2}


def test_what_names_no_category_is_counted_and_changes_nothing() -> None:
    latest = LatestCorrections()
    for record in (said(0, 5), PlainRecord(value=b"["), said(1, " "), said(2, ""), said(3, 1.5)):
        latest.add(record, max_bytes=MAX_BYTES)
    assert (len(latest.corrections), latest.num_unusable, latest.num_withdrawn) == (1, 4, 0)
    latest.add(said(4, None), max_bytes=MAX_BYTES)
    assert (len(latest.corrections), latest.num_withdrawn) == (0, 1)


@given(listing=products(), code=category_codes().filter(lambda code: str(code).strip()))
def test_a_row_is_read_back_as_it_was_listed(
    tmp_path_factory: pytest.TempPathFactory, listing: ProductListed, code: int | str
) -> None:
    correction = CategoryCorrected(
        correction_id="c", product_id=listing.product_id, category=CorrectCategory(code=code)
    )
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    path.write_bytes(2 * training_row(listing, correction))
    first, second = read_catalogue(path)
    assert first == second
    assert (first.product_id, first.title, first.description) == (
        listing.product_id,
        listing.title,
        listing.description or "",
    )
    assert (first.image, first.category, first.split) == (listing.image, str(code), None)


def test_a_file_is_not_overwritten_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    check_output(path, force=False)
    path.touch()
    check_output(path, force=True)
    with pytest.raises(SettingsError, match="is there already; --force overwrites it"):
        check_output(path, force=False)
    with pytest.raises(SettingsError, match=r"end the name in \.jsonl"):
        check_output(tmp_path / "rows.csv", force=True)
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(SettingsError, match="is a folder"):
        check_output(tmp_path / "folder.jsonl", force=True)
