"""The AsyncAPI document as a page for people: topics, headers, fields, examples."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

__all__ = ["messages_page"]

WIDTH: Final = 120
_COLUMNS: Final = ("field", "type", "what")
_DIRECTIONS: Final = {"receive": "in", "send": "out"}


def messages_page(document: Mapping[str, Any]) -> str:
    """Return the page, in Markdown, that says of a document of `asyncapi_document` what a person needs."""
    return "\n".join(["# Messages", "", *_begin(document), *_topics(document)]) + "\n"


def _begin(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _paragraphs(document["info"]["description"])
    yield from _paragraphs(
        "This page is written by `shelver schema --markdown` from the AsyncAPI document that `shelver schema`"
        " prints; `shelver schema DIR` writes that and the JSON Schemas. A `?` marks what may be left out."
    )
    rows = [
        [f"`{channel['address']}`", _direction(document, name), channel["summary"]]
        for name, channel in document["channels"].items()
    ]
    yield from _table(("topic", "", "what"), rows)


def _topics(document: Mapping[str, Any]) -> Iterator[str]:
    for channel in document["channels"].values():
        (reference,) = channel["messages"].values()
        message = _resolved(document, reference)
        yield f"## {channel['address']}"
        yield ""
        yield from _paragraphs(channel["description"])
        yield from _paragraphs(f"Key: {_lowered(message['bindings']['kafka']['key']['description'])}")
        yield from _table(("header", "type", "what"), list(_rows(document, message["headers"], "")))
        payload = _resolved(document, message["payload"])
        if "properties" in payload:
            yield from _table(_COLUMNS, list(_rows(document, payload, "")))
        else:
            yield from _paragraphs(f"Value: {_lowered(payload['description'])}")
        for example in message["examples"]:
            yield from _paragraphs(example["summary"])
            yield from _code(example)


def _direction(document: Mapping[str, Any], channel: str) -> str:
    reference = {"$ref": f"#/channels/{channel}"}
    actions = [each["action"] for each in document["operations"].values() if each["channel"] == reference]
    return ", ".join(_DIRECTIONS[action] for action in actions)


def _rows(document: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
    """Yield a row for each field of an object and, below it, for each of the fields inside it."""
    needed = schema.get("required", ())
    for name, field in schema["properties"].items():
        said = field.get("description") or _resolved(document, field).get("description", "")
        mark = "" if name in needed else "?"
        yield [f"`{prefix}{name}`{mark}", _kind(document, field), " ".join(said.split())]
        inner, suffix = _inside(document, field)
        if "properties" in inner:
            yield from _rows(document, inner, f"{prefix}{name}{suffix}.")


def _inside(document: Mapping[str, Any], field: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the schema of what is inside an object or array, and what stands for it in a name."""
    schema = _resolved(document, field)
    for choice in schema.get("anyOf", ()):
        if "properties" not in schema and _resolved(document, choice).get("type") in ("object", "array"):
            return _inside(document, choice)
    if schema.get("type") == "array":
        inner, suffix = _inside(document, schema["items"])
        return inner, f"[]{suffix}"
    return schema, ""


def _kind(document: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    schema = _resolved(document, field)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " ".join(f"`{each}`" for each in schema["enum"])
    if "anyOf" in schema and "properties" not in schema:
        kinds = [_kind(document, choice) for choice in schema["anyOf"]]
        return ", ".join(dict.fromkeys(each for kind in kinds for each in kind.split(", ")))
    if schema.get("type") == "array":
        inner = _kind(document, schema["items"])
        return f"array of ({inner})" if ", " in inner else f"array of {inner}"
    types = schema.get("type", "any")
    kinds = list(types) if isinstance(types, list) else [types]
    return ", ".join("date-time" if schema.get("format") == "date-time" else kind for kind in kinds)


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema or "allOf" in schema:
        reference = schema.get("$ref") or schema["allOf"][0]["$ref"]
        schema = document
        for part in reference.removeprefix("#/").split("/"):
            schema = schema[part]
    return schema


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |".replace("|  |", "| |")
    yield ""


def _code(example: Mapping[str, Any]) -> Iterator[str]:
    yield "```json"
    yield json.dumps({name: example[name] for name in ("headers", "payload") if name in example}, indent=1)
    yield "```"
    yield ""


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from textwrap.wrap(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)
        yield ""


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
