"""Compressed records: read with any codec, never beyond a bound; without the library no worker starts."""

from contextlib import suppress

import pytest
from aiokafka import codec
from hypothesis import given
from hypothesis import strategies as st

from stream_app.codecs import CODEC_NAMES, UnpackError, require_codecs, unpack
from stream_app.errors import SettingsError


def test_every_codec_of_kafka_is_installed() -> None:
    require_codecs()


def test_a_missing_library_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "cramjam", None)
    with pytest.raises(SettingsError, match=r"snappy, lz4, zstd could not be read.*install"):
        require_codecs()


ENCODERS = {1: codec.gzip_encode, 2: codec.snappy_encode, 3: codec.lz4_encode, 4: codec.zstd_encode}


@pytest.mark.parametrize("number", ENCODERS, ids=lambda number: CODEC_NAMES[number])
@given(data=st.binary(min_size=1, max_size=2_000), times=st.integers(1, 500))
def test_what_was_packed_is_unpacked_within_the_bound_and_not_beyond(
    number: int, data: bytes, times: int
) -> None:
    whole = data * times
    packed = ENCODERS[number](whole)
    assert unpack(number, packed, len(whole)) == whole
    with pytest.raises(UnpackError):
        unpack(number, packed, len(whole) - 1)


@pytest.mark.parametrize("number", ENCODERS, ids=lambda number: CODEC_NAMES[number])
@given(data=st.data())
def test_damage_is_an_error_of_ours_or_other_bytes(number: int, data: st.DataObject) -> None:
    packed = bytearray(ENCODERS[number](b"une lampe de chevet " * 20))
    for _ in range(data.draw(st.integers(1, 5))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    with suppress(UnpackError):
        assert len(unpack(number, bytes(packed[:cut]), 1_000)) <= 1_000


def test_raw_snappy_is_unpacked_too() -> None:
    packed = codec.snappy_encode(b"lampe" * 100, xerial_compatible=False)
    assert unpack(2, packed, 500) == b"lampe" * 100
    with pytest.raises(UnpackError, match="more than 499 bytes"):
        unpack(2, packed, 499)


def test_an_unknown_codec_is_an_error() -> None:
    with pytest.raises(UnpackError):
        unpack(7, b"", 10)
