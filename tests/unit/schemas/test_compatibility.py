"""Messages keep the promises of the last release; and the check of that notices broken ones."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility import Direction, broken_promises
from tests.json_schemas import SCHEMAS

RELEASED = Path(__file__).parents[3] / "schemas" / "released"
WRITTEN = ("category-assigned", "category-explained", "dead-letter")
RELEASED_NAMES = sorted(path.name.removesuffix(".schema.json") for path in RELEASED.glob("*.schema.json"))

Change = Callable[[dict[str, Any]], object]

BEFORE: dict[str, Any] = {
    "$defs": {
        "Picture": {
            "type": "object",
            "properties": {"url": {"type": "string", "maxLength": 99}, "kind": {"enum": ["a", "b"]}},
            "required": ["url"],
        }
    },
    "type": "object",
    "properties": {
        "id": {"type": ["string", "number"], "minLength": 1},
        "title": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "picture": {"$ref": "#/$defs/Picture", "description": "Where it is."},
        "codes": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 3},
        "at": {"type": "string", "format": "date-time"},
    },
    "required": ["id"],
}


def direction_of(name: str) -> Direction:
    return Direction.WRITTEN if name.removesuffix(".headers") in WRITTEN else Direction.READ


def changed(change: Change) -> dict[str, Any]:
    after = copy.deepcopy(BEFORE)
    change(after)
    return after


def faults(change: Change, direction: Direction) -> list[str]:
    return broken_promises(BEFORE, changed(change), direction)


def test_there_is_a_released_schema_of_every_message() -> None:
    assert sorted(SCHEMAS) == RELEASED_NAMES


@pytest.mark.parametrize("name", RELEASED_NAMES)
def test_messages_keep_the_promises_of_the_last_release(name: str) -> None:
    released = json.loads((RELEASED / f"{name}.schema.json").read_text(encoding="utf-8"))
    broken = broken_promises(released, SCHEMAS[name], direction_of(name))
    assert not broken, "see CONTRIBUTING.md, A message that changes: " + "; ".join(broken)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("direction", Direction)
def test_a_schema_keeps_its_own_promises(name: str, direction: Direction) -> None:
    assert not broken_promises(SCHEMAS[name], SCHEMAS[name], direction)


BREAKS_PRODUCERS: dict[str, Change] = {
    "$.title: is now required": lambda s: s["required"].append("title"),
    "$.size: is now required": lambda s: (
        s["properties"].update(size={"type": "integer"}),
        s["required"].append("size"),
    ),
    "$.id: type integer, number is no longer accepted": lambda s: s["properties"]["id"].update(type="string"),
    "$.id: minLength was 1 and is 2": lambda s: s["properties"]["id"].update(minLength=2),
    "$.id: maxLength was None and is 9": lambda s: s["properties"]["id"].update(maxLength=9),
    "$.id: pattern was None and is '^e'": lambda s: s["properties"]["id"].update(pattern="^e"),
    "$.id: values are now limited": lambda s: s["properties"]["id"].update(enum=["a"]),
    "$.title(1): type null is no longer accepted": lambda s: s["properties"]["title"]["anyOf"].pop(),
    "$.picture: is gone": lambda s: s["properties"].pop("picture"),
    "$.picture.url: maxLength was 99 and is 9": lambda s: s["$defs"]["Picture"]["properties"]["url"].update(
        maxLength=9
    ),
    "$.picture.kind: value 'b' is no longer accepted": lambda s: s["$defs"]["Picture"]["properties"][
        "kind"
    ].update(enum=["a", "c"]),
    "$.codes: maxItems was 3 and is 2": lambda s: s["properties"]["codes"].update(maxItems=2),
    "$.codes[]: minimum was 0 and is 1": lambda s: s["properties"]["codes"]["items"].update(minimum=1),
    "$.at: format was 'date-time' and is 'date'": lambda s: s["properties"]["at"].update(format="date"),
    "$: additionalProperties was None and is False": lambda s: s.update(additionalProperties=False),
}
FITS_PRODUCERS: dict[str, Change] = {
    "an optional field": lambda s: s["properties"].update(size={"type": "integer"}),
    "a field that may be left out": lambda s: s["required"].remove("id"),
    "a wider type": lambda s: s["properties"]["codes"]["items"].update(type="number"),
    "a longer text": lambda s: s["$defs"]["Picture"]["properties"]["url"].update(maxLength=100),
    "another value": lambda s: s["$defs"]["Picture"]["properties"]["kind"].update(enum=["a", "b", "c"]),
    "a rule less": lambda s: s["properties"]["at"].pop("format"),
    "an alternative": lambda s: s["properties"]["title"]["anyOf"].append({"type": "integer"}),
    "any value": lambda s: s["properties"]["title"].pop("anyOf"),
    "other words": lambda s: s["properties"]["at"].update(description="When.", title="At"),
    "a part that stands where it is used": lambda s: s["properties"].update(picture=s["$defs"]["Picture"]),
}
BREAKS_CONSUMERS: dict[str, Change] = {
    "$.id: may now be left out": lambda s: s["required"].remove("id"),
    "$.title: is gone": lambda s: s["properties"].pop("title"),
    "$.picture.url: may now be left out": lambda s: s["$defs"]["Picture"].pop("required"),
    "$.codes[]: type number is new": lambda s: s["properties"]["codes"]["items"].update(type="number"),
    "$.at: type null is new": lambda s: s["properties"]["at"].update(type=["string", "null"]),
    "$.picture.kind: value 'c' is new": lambda s: s["$defs"]["Picture"]["properties"]["kind"].update(
        enum=["a", "c"]
    ),
    "$.picture.kind: any value is new": lambda s: s["$defs"]["Picture"]["properties"]["kind"].pop("enum"),
    "$.picture.url: maxLength was 99 and is 100": lambda s: s["$defs"]["Picture"]["properties"]["url"].update(
        maxLength=100
    ),
    "$.title(2): type boolean is new": lambda s: s["properties"]["title"]["anyOf"].append(
        {"type": "boolean"}
    ),
    "$.at: format was 'date-time' and is None": lambda s: s["properties"]["at"].pop("format"),
}
FITS_CONSUMERS: dict[str, Change] = {
    "another field": lambda s: s["properties"].update(size={"type": "integer"}),
    "a field that is now always there": lambda s: s["required"].append("title"),
    "a value less": lambda s: s["$defs"]["Picture"]["properties"]["kind"].update(enum=["a"]),
    "a tighter bound": lambda s: s["properties"]["codes"].update(maxItems=2),
    "a rule more": lambda s: s["properties"]["id"].update(pattern="^e"),
    "an alternative less": lambda s: s["properties"]["title"]["anyOf"].pop(),
}


@pytest.mark.parametrize("fault", BREAKS_PRODUCERS)
def test_what_a_producer_can_no_longer_send_is_told(fault: str) -> None:
    assert faults(BREAKS_PRODUCERS[fault], Direction.READ) == [fault]


@pytest.mark.parametrize("change", FITS_PRODUCERS)
def test_what_does_not_touch_a_producer_is_not_told(change: str) -> None:
    assert not faults(FITS_PRODUCERS[change], Direction.READ)


@pytest.mark.parametrize("fault", BREAKS_CONSUMERS)
def test_what_a_consumer_can_no_longer_rely_on_is_told(fault: str) -> None:
    assert faults(BREAKS_CONSUMERS[fault], Direction.WRITTEN) == [fault]


@pytest.mark.parametrize("change", FITS_CONSUMERS)
def test_what_does_not_touch_a_consumer_is_not_told(change: str) -> None:
    assert not faults(FITS_CONSUMERS[change], Direction.WRITTEN)
