"""The codecs that producers may compress records with: all must be there before a record is read."""

from aiokafka import codec

from stream_app.errors import SettingsError

__all__ = ["require_codecs"]

_CODECS = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}


def require_codecs() -> None:
    """Make sure that records can be read however they are compressed.

    Without its library a compressed record stops its partition for ever, at the first fetch.

    Raises:
        SettingsError: a library is missing.
    """
    missing = [name for name, is_there in _CODECS.items() if not is_there()]
    if missing:
        raise SettingsError(
            f"records compressed with {', '.join(missing)} could not be read: cramjam is missing; "
            "install shelver with its dependencies, or aiokafka[snappy,lz4,zstd]"
        )
