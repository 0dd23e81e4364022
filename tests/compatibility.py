"""Whether a JSON Schema of now keeps the promises of a released one.

What was valid to send has to stay valid and mean the same (`Direction.READ`), what was promised to a consumer
has to stay promised (`Direction.WRITTEN`). Rules that are not understood count as broken when they differ: a
person then looks.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

Schema = Mapping[str, Any]


class Direction(Enum):
    """Who has to keep up with a change: producers, or consumers."""

    READ = "read"
    WRITTEN = "written"


_TOLD = frozenset({"title", "description", "examples", "default", "$defs", "$schema", "deprecated"})
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_ALTERNATIVES = ("anyOf", "oneOf")
_COMPARED = frozenset({"type", "enum", "const", "required", "properties", "items", "$ref"})
_ALL_TYPES = frozenset({"string", "number", "integer", "boolean", "null", "array", "object"})


def broken_promises(released: Schema, now: Schema, direction: Direction) -> list[str]:
    """What a producer or a consumer of the released schema can no longer rely on, one line each."""
    return list(_Comparison(released, now, direction).of(released, now, "$"))


class _Comparison:
    def __init__(self, released: Schema, now: Schema, direction: Direction) -> None:
        self._released = released
        self._now = now
        self._is_read = direction is Direction.READ

    def of(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        before, after = _resolved(before, self._released), _resolved(after, self._now)
        yield from self._types(before, after, place)
        yield from self._values(before, after, place)
        yield from self._bounds(before, after, place)
        yield from self._required(before, after, place)
        yield from self._properties(before, after, place)
        yield from self._items(before, after, place)
        yield from self._choices(before, after, place)
        yield from self._rest(before, after, place)

    def _types(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        wide, narrow = (after, before) if self._is_read else (before, after)
        if missing := _types(narrow) - _types(wide):
            what = "no longer accepted" if self._is_read else "new"
            yield f"{place}: type {', '.join(sorted(missing))} is {what}"

    def _values(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        old, new = _values(before), _values(after)
        wide, narrow = (new, old) if self._is_read else (old, new)
        if wide is None:
            return
        what = "no longer accepted" if self._is_read else "new"
        if narrow is None:
            yield f"{place}: values are now limited" if self._is_read else f"{place}: any value is new"
        elif added := [value for value in narrow if value not in wide]:
            yield f"{place}: value {', '.join(map(repr, added))} is {what}"

    def _bounds(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        wide, narrow = (after, before) if self._is_read else (before, after)
        tighter = [n for n in _UPPER if n in wide and wide[n] < narrow.get(n, float("inf"))]
        tighter += [n for n in _LOWER if n in wide and wide[n] > narrow.get(n, float("-inf"))]
        for name in tighter:
            yield f"{place}: {name} was {before.get(name)} and is {after.get(name)}"

    def _required(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        old, new = set(before.get("required", ())), set(after.get("required", ()))
        for name in sorted(new - old if self._is_read else old - new):
            yield (
                f"{place}.{name}: is now required"
                if self._is_read
                else f"{place}.{name}: may now be left out"
            )

    def _properties(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        new = after.get("properties", {})
        for name, field in before.get("properties", {}).items():
            if name not in new:
                yield f"{place}.{name}: is gone"
            else:
                yield from self.of(field, new[name], f"{place}.{name}")

    def _items(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        if "items" in before or "items" in after:
            yield from self.of(before.get("items", {}), after.get("items", {}), f"{place}[]")

    def _choices(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        """Every alternative on the one side has to fit into one on the other."""
        for name in _ALTERNATIVES:
            if name not in before and name not in after:
                continue
            old, new = before.get(name, [_without(before, name)]), after.get(name, [_without(after, name)])
            wanted, offered = (old, new) if self._is_read else (new, old)
            for number, choice in enumerate(wanted):
                faults = [self._between(choice, other, f"{place}({number})") for other in offered]
                if all(faults):
                    yield from min(faults, key=len)

    def _between(self, wanted: Schema, offered: Schema, place: str) -> list[str]:
        before, after = (wanted, offered) if self._is_read else (offered, wanted)
        return list(self.of(before, after, place))

    def _rest(self, before: Schema, after: Schema, place: str) -> Iterator[str]:
        known = {*_TOLD, *_UPPER, *_LOWER, *_ALTERNATIVES, *_COMPARED}
        for name in sorted({*before, *after} - known):
            if before.get(name) != after.get(name) and not self._is_relaxed(name, before, after):
                yield f"{place}: {name} was {before.get(name)!r} and is {after.get(name)!r}"

    def _is_relaxed(self, name: str, before: Schema, after: Schema) -> bool:
        """Whether a rule was only taken away from what is read, or only added to what is written."""
        return name not in (after if self._is_read else before)


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _types(schema: Schema) -> frozenset[str]:
    """The types that its own rules let through; an integer is a number."""
    kind = schema.get("type")
    types = {kind} if isinstance(kind, str) else set(kind or _ALL_TYPES)
    return frozenset(types | {"integer"} if "number" in types else types)


def _values(schema: Schema) -> Sequence[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: Sequence[Any] | None = schema.get("enum")
    return values


def _without(schema: Schema, name: str) -> Schema:
    return {key: value for key, value in schema.items() if key != name}
