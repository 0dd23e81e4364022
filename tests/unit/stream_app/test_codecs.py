"""A worker that could not read compressed records does not start."""

import pytest
from aiokafka import codec

from stream_app.codecs import require_codecs
from stream_app.errors import SettingsError


def test_every_codec_of_kafka_is_installed() -> None:
    require_codecs()


def test_a_missing_library_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "cramjam", None)
    with pytest.raises(SettingsError, match=r"snappy, lz4, zstd could not be read.*install"):
        require_codecs()
