"""The categories of a model in the order of its logits: their codes and what people call them.

A code that reads as a whole number is a number (`2583`, as the challenge has it), any other stays text, so
`"0010"` and `"books"` come back as they went in.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

__all__ = ["Code", "Label", "LabelSet", "parse_code"]

Code = int | str

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_SHOWN_CODES = 5


@dataclass(frozen=True, slots=True)
class Label:
    """One category: its code, and its name in each language there is one for (`{"fr": "Livres"}`)."""

    code: Code
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, language: str | None = None) -> str:
        """What people call it: in `language`, else in the first language there is, else the code as text."""
        if language is not None and language in self.names:
            return self.names[language]
        return next(iter(self.names.values()), str(self.code))


class LabelSet:
    """C categories in a fixed order; position c is column c of every logits array."""

    def __init__(self, labels: Iterable[Label]) -> None:
        """Take the labels in the order of the logits; codes are read with `parse_code`.

        Raises:
            ModelError: there is no label, or a code comes twice.
        """
        self._labels = tuple(Label(parse_code(label.code), label.names) for label in labels)
        self._codes = tuple(label.code for label in self._labels)
        self._names = tuple(label.name() for label in self._labels)
        self._index = {code: position for position, code in enumerate(self._codes)}
        if not self._labels:
            raise ModelError("a label set needs at least one category, there is none")
        if len(self._index) < len(self._labels):
            raise ModelError(f"category code {self._first_repeated()!r} comes twice, each code may come once")

    @classmethod
    def from_codes(cls, codes: Iterable[Code], names: Mapping[str, Mapping[str, str]] | None = None) -> Self:
        """The distinct `codes`, numbers first in rising order, then texts.

        Args:
            codes: as found in a catalogue, in any order, repeats allowed; text is read with `parse_code`.
            names: code as text -> language -> name, as `schemas.catalogue.read_label_names` gives it.
        """
        found = names or {}
        distinct = {parse_code(code) for code in codes}
        ordered = sorted(distinct, key=lambda code: (isinstance(code, str), code))
        return cls(Label(code, dict(found.get(str(code), {}))) for code in ordered)

    @property
    def codes(self) -> tuple[Code, ...]:
        """The C codes in order."""
        return self._codes

    @property
    def names(self) -> tuple[str, ...]:
        """The C names in order, each in the first language there is."""
        return self._names

    def label(self, index: int) -> Label:
        """The category of column `index`."""
        return self._labels[index]

    def index(self, code: Code) -> int:
        """The column of a category.

        Raises:
            ModelError: the model does not know the code.
        """
        position = self._index.get(parse_code(code))
        if position is None:
            known = ", ".join(map(str, self.codes[:_SHOWN_CODES]))
            raise ModelError(
                f"category code {str(code)[:40]!r} is not one of the model's {len(self)} ({known}, ...)"
            )
        return position

    def indices(self, codes: Sequence[Code]) -> NDArray[np.int64]:
        """The column of each code, int64; -1 for a code the model does not know."""
        return np.array([self._index.get(parse_code(code), -1) for code in codes], np.int64)

    def to_json(self) -> list[dict[str, Any]]:
        """What `from_json` reads."""
        return [{"code": label.code, "names": dict(label.names)} for label in self._labels]

    @classmethod
    def from_json(cls, document: object) -> Self:
        """The label set that `to_json` wrote.

        Raises:
            ModelError: the document is of another shape.
        """
        if not isinstance(document, list):
            raise ModelError(f"labels must be a list of categories, not {type(document).__name__}")
        return cls(_label(entry) for entry in document)

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels)

    def __contains__(self, code: object) -> bool:
        return isinstance(code, int | str) and parse_code(code) in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSet) and self._labels == other._labels

    def __hash__(self) -> int:
        return hash(self.codes)

    def __repr__(self) -> str:
        return f"LabelSet({len(self)} categories)"

    def _first_repeated(self) -> Code:
        return next(code for position, code in enumerate(self._codes) if self._index[code] != position)


def parse_code(code: Code) -> Code:
    """The code as a number when it reads as one exactly (`"2583"`, not `"02583"` or `"2583.0"`)."""
    if isinstance(code, str) and _WHOLE_NUMBER.fullmatch(code):
        return int(code)
    return code


def _label(entry: object) -> Label:
    match entry:
        case {"code": int() | str() as code, "names": dict() as names} if not isinstance(code, bool):
            if all(isinstance(name, str) for name in names.values()):
                return Label(code, names)
    raise ModelError(f'a category must be {{"code": ..., "names": {{...}}}}, not {str(entry)[:80]}')
