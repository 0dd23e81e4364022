"""Header names that are no text, as producers in C can write them and aiokafka will not."""

import pytest
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy


class RawName(str):
    """Text that is encoded as other bytes."""

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> "RawName":
        self = super().__new__(cls, repr(raw))
        self.raw = raw
        return self

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - as str's
        return self.raw


def write_raw_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have aiokafka's producers build batches in Python, which asks a name to encode itself."""
    for module in (message_accumulator, producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
