"""What the fuzz targets look for in minutes, looked for in seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import pictures, records
from tests.fuzz.promises import (
    HEADERS_FOLLOW,
    keep_picture_promises,
    keep_record_promises,
    keep_text_promises,
    with_checksums,
)
from tests.pictures import USABLE
from tests.strategies import damaged, hostile_bytes, hostile_texts

PICTURES = [data for data in pictures.seeds() if len(data) < 20_000]


def test_every_seed_of_a_fuzz_target_keeps_the_promises() -> None:
    for seed in records.seeds():
        keep_record_promises(seed)
    for picture in PICTURES:
        keep_picture_promises(picture)


@given(hostile_bytes(), st.binary(max_size=8))
def test_any_record_is_a_message_or_a_message_error(value: bytes, header: bytes) -> None:
    keep_record_promises(value + HEADERS_FOLLOW + header)


@given(hostile_texts())
def test_any_text_is_cleaned_and_traced(text: str) -> None:
    keep_text_promises(text)


@given(damaged(st.sampled_from(PICTURES)))
def test_any_file_is_a_picture_or_an_image_error(data: bytes) -> None:
    keep_picture_promises(data)


@given(st.text())
def test_any_address_is_a_url_or_an_image_error(text: str) -> None:
    keep_picture_promises(text.encode())


def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_image(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tests.fuzz.promises.decode_image", decode_image)
    with pytest.raises(ZeroDivisionError):
        keep_picture_promises(b"")


def test_a_changed_png_gets_its_checksums_back() -> None:
    file = USABLE["png"][0]
    assert with_checksums(file) == file
    changed = bytearray(file)
    changed[29] ^= 0xFF
    assert with_checksums(bytes(changed)) == file
