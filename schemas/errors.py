"""The root of every error Shelver raises, and the errors of messages and catalogue files.

```
ShelverError
├── MessageError                one event is wrong: dead letter, the rest goes on
│   ├── MalformedError          the bytes are not exactly one JSON object
│   ├── FramingError            schema registry framing in front of something that is not JSON
│   ├── MessageTooLargeError    more bytes than the limit
│   ├── UnreadableBatchError    a batch of records that cannot be unpacked
│   ├── InvalidMessageError     a JSON object whose fields are wrong
│   ├── EmptyListingError       a valid listing with nothing to classify
│   ├── UnknownEventError       a question about a listing that is not remembered
│   └── UnknownCategoryError    a question about a category that the model does not have
└── CatalogueError              a catalogue file cannot be read (also a ValueError)
```
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CatalogueError",
    "EmptyListingError",
    "FramingError",
    "InvalidMessageError",
    "MalformedError",
    "MessageError",
    "MessageTooLargeError",
    "ShelverError",
    "UnknownCategoryError",
    "UnknownEventError",
    "UnreadableBatchError",
]


class ShelverError(Exception):
    """Anything Shelver raises on purpose; its text is one line a person can act on."""


class MessageError(ShelverError):
    """One message is wrong and no retry can help; the messages around it are not affected."""


class MalformedError(MessageError):
    """The bytes are not exactly one JSON object in UTF-8."""


class FramingError(MessageError):
    """The value starts with the framing of a schema registry and what follows is not JSON.

    Attributes:
        schema_id: The id in the framing, 0 to 2**32 - 1.
    """

    def __init__(self, message: str, *, schema_id: int) -> None:
        super().__init__(message)
        self.schema_id = schema_id


class MessageTooLargeError(MessageError):
    """The value has more bytes than the limit.

    Attributes:
        size_bytes: The size of the value.
        limit_bytes: The largest size accepted.
    """

    def __init__(self, message: str, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class UnreadableBatchError(MessageError):
    """The record stands for a whole batch that cannot be unpacked, or not within bounds."""


class InvalidMessageError(MessageError):
    """A JSON object that is not the message it should be.

    Attributes:
        fields: Dotted names of the fields that are wrong, in the order they were found.
    """

    def __init__(self, message: str, *, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class EmptyListingError(MessageError):
    """A valid listing with nothing to classify: no text is left after cleaning and there is no picture."""


class UnknownEventError(MessageError):
    """A question about an event whose listing is not, or no longer, remembered."""


class UnknownCategoryError(MessageError):
    """A question about a category that the model does not have."""


class CatalogueError(ShelverError, ValueError):
    """A catalogue file or folder cannot be read; the text names the file, the line and what is wrong."""
