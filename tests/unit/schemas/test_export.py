"""What is exported describes what is read and written: by the codec, and by any validator."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.assignments import CategoryAssigned
from schemas.base import Message
from schemas.cloudevents import is_structured, output_headers
from schemas.codec import decode, encode
from schemas.corrections import CategoryCorrected
from schemas.dead_letters import DeadLetter, original_headers
from schemas.errors import MessageError
from schemas.explanations import CategoryExplained, ExplanationRequested
from schemas.export import Login, Service, Topics, asyncapi_document
from schemas.export_page import messages_page
from schemas.products import ProductListed
from tests.json_schemas import SCHEMAS, VALIDATORS, as_text, validator
from tests.strategies import (
    answers,
    assignments,
    correction_bodies,
    corrections,
    dead_letters,
    listing_bodies,
    products,
    request_bodies,
    requests,
)

READ: dict[str, type[Message]] = {
    "product-listed": ProductListed,
    "explanation-requested": ExplanationRequested,
    "category-corrected": CategoryCorrected,
}
WRITTEN: dict[str, type[Message]] = {
    "category-assigned": CategoryAssigned,
    "category-explained": CategoryExplained,
}
TOPICS = Topics(*(f"our-{field.name}" for field in fields(Topics)))
SERVICE = Service(version="1.2.3", hosts=("a.example:9092", "b.example:9093"), topics=TOPICS, group="shelver")
DOCUMENT = asyncapi_document(SERVICE)
EXAMPLES = [
    (message["name"], example)
    for message in DOCUMENT["components"]["messages"].values()
    for example in message["examples"]
]

MESSAGES = {
    "product-listed": products(),
    "explanation-requested": requests(),
    "category-corrected": corrections(),
    "category-assigned": assignments(),
    "category-explained": answers(),
}
BODIES = {
    "product-listed": listing_bodies(),
    "explanation-requested": request_bodies(),
    "category-corrected": correction_bodies(),
}


@st.composite
def nearly_valid(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A valid body, some of whose fields have other values or are left out."""
    body = json.loads(encode(draw(MESSAGES[name])))
    others = draw(BODIES[name])
    changed = draw(st.sets(st.sampled_from(sorted({*body, *others})), max_size=3))
    kept = {field: value for field, value in body.items() if field not in changed}
    return kept | {field: others[field] for field in changed if field in others}


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        inner = [each for value in node.values() for each in references(value)]
        return [node["$ref"], *inner] if isinstance(node.get("$ref"), str) else inner
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


def has_whole_float_as_code(body: dict[str, Any]) -> bool:
    """Whether a code is written like `5.0`: an integer to JSON Schema, but not the code `5` to Shelver."""
    category = body.get("category")
    codes = [*(body.get("categories") or ()), category.get("code") if isinstance(category, dict) else None]
    return any(isinstance(code, float) for code in codes)


def test_every_message_has_a_schema_for_its_value_and_its_headers() -> None:
    names = {*READ, *WRITTEN}
    assert {*READ.values(), *WRITTEN.values()} == set(Message.__subclasses__())
    assert set(SCHEMAS) == {*names, *(f"{name}.headers" for name in (*names, "dead-letter"))}


@pytest.mark.parametrize("name", VALIDATORS)
def test_every_schema_is_one_of_2020_12(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", VALIDATORS)
def test_every_field_says_what_it_means(name: str) -> None:
    schema = SCHEMAS[name]
    for part in (schema, *schema.get("$defs", {}).values()):
        for field, described in part.get("properties", {}).items():
            target = described.get("$ref", "").removeprefix("#/$defs/")
            told = described.get("description") or schema["$defs"][target].get("description")
            assert told, f"{name}: {field}"


@given(st.data(), st.sampled_from(list(MESSAGES)))
def test_every_message_that_can_be_written_is_valid(data: st.DataObject, name: str) -> None:
    message = data.draw(MESSAGES[name])
    VALIDATORS[name].validate(json.loads(encode(message)))
    headers = output_headers(message, source="/shelver")
    VALIDATORS[f"{name}.headers"].validate(as_text(headers))


@given(dead_letters())
def test_every_dead_letter_has_the_headers_that_are_described(letter: DeadLetter) -> None:
    ours = letter.headers[len(original_headers(letter.headers)) :]
    VALIDATORS["dead-letter.headers"].validate(as_text(letter.headers))
    assert set(as_text(ours)) <= set(SCHEMAS["dead-letter.headers"]["properties"])


@given(st.data(), st.sampled_from(list(BODIES)))
def test_what_a_schema_accepts_is_read(data: st.DataObject, name: str) -> None:
    """Not promised: codes written as `5.0`, envelopes, half surrogate pairs, numbers of over 512 digits."""
    body = data.draw(nearly_valid(name))
    if VALIDATORS[name].is_valid(body) and not is_structured(body) and not has_whole_float_as_code(body):
        decode(READ[name], json.dumps(body).encode(), default_event_id="t-0-1")


@pytest.mark.parametrize(
    "body",
    [
        {"product_id": "p"},
        {"product_id": 3804725264, "event_id": 7},
        {"product_id": 3804725264.5, "event_id": ""},
        {"productid": 1, "imageid": 2, "designation": "Robot", "event_id": None},
        {"product_id": None, "imageid": 2, "title": None, "explain": None, "listed_at": None, "price": {}},
        {"product_id": 1, "image": {"url": None, "data": None}},
        {"product_id": 1, "image": {"url": None, "data": ""}},
        {"product_id": 1, "image": {"url": "https://shop.example/a.jpg", "alt": 7}},
        {"product_id": 1, "listed_at": 1764057600000},
        {"product_id": 1, "listed_at": "2026-11-25T08:00:00+01:00"},
    ],
)
def test_a_listing_is_described_as_it_is_accepted(body: dict[str, Any]) -> None:
    VALIDATORS["product-listed"].validate(body)
    decode(ProductListed, json.dumps(body).encode(), default_event_id="t-0-1")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("product-listed", {}),
        ("product-listed", {"product_id": None}),
        ("product-listed", {"product_id": ""}),
        ("product-listed", {"product_id": " \u2003"}),
        ("product-listed", {"product_id": "a\nb"}),
        ("product-listed", {"product_id": "a\n"}),
        ("product-listed", {"product_id": "a\x85b"}),
        ("product-listed", {"product_id": "a\ufffd"}),
        ("product-listed", {"product_id": "x" * 513}),
        ("product-listed", {"product_id": True}),
        ("product-listed", {"productid": ""}),
        ("product-listed", {"product_id": 1, "event_id": " "}),
        ("product-listed", {"product_id": 1, "title": 7}),
        ("product-listed", {"product_id": 1, "image": {}}),
        ("product-listed", {"product_id": 1, "image": {"url": "a", "data": "b"}}),
        ("product-listed", {"product_id": 1, "image": "a.jpg"}),
        ("product-listed", {"product_id": 1, "listed_at": "yesterday"}),
        ("explanation-requested", {}),
        ("explanation-requested", {"event_id": None, "product": None}),
        ("explanation-requested", {"event_id": ""}),
        ("explanation-requested", {"product": {"title": "Robot"}}),
        ("explanation-requested", {"event_id": "e", "categories": [True]}),
        ("explanation-requested", {"event_id": "e", "categories": ["a"] * 101}),
        ("explanation-requested", {"event_id": "e", "max_evaluations": 0}),
        ("category-corrected", {"product_id": 1}),
        ("category-corrected", {"category": {"code": 1}}),
        ("category-corrected", {"product_id": 1, "category": {"label": "Piscine"}}),
    ],
)
def test_what_is_not_read_is_not_valid(name: str, body: dict[str, Any]) -> None:
    assert not VALIDATORS[name].is_valid(body)
    with pytest.raises(MessageError):
        decode(READ[name], json.dumps(body).encode(), default_event_id="t-0-1")


@pytest.mark.parametrize("name", WRITTEN)
@given(st.data())
def test_fields_of_an_output_are_always_there(name: str, data: st.DataObject) -> None:
    body = json.loads(encode(data.draw(MESSAGES[name])))
    assert set(body) == set(SCHEMAS[name]["properties"])
    left_out = data.draw(st.sampled_from(sorted(body)))
    assert not VALIDATORS[name].is_valid({field: body[field] for field in body if field != left_out})


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_every_example_is_valid_and_read(name: str, example: dict[str, Any]) -> None:
    headers = example.get("headers", {})
    VALIDATORS[f"{name}.headers"].validate(headers)
    if name in VALIDATORS:
        VALIDATORS[name].validate(example["payload"])
        raw = [(header, value.encode()) for header, value in headers.items()]
        value = json.dumps(example["payload"]).encode()
        decode({**READ, **WRITTEN}[name], value, raw, default_event_id="t-0-1")


def test_the_examples_go_together() -> None:
    told = dict(EXAMPLES)
    letter = told["dead-letter"]
    with pytest.raises(MessageError) as caught:
        decode(ProductListed, json.dumps(letter["payload"]).encode(), default_event_id="t-0-1")
    assert str(caught.value) == letter["headers"]["shelver.message"]


def test_all_that_the_document_refers_to_is_there() -> None:
    found = references(DOCUMENT)
    assert len(found) > 20
    assert all(resolved(reference) for reference in found)


@given(st.data(), st.sampled_from(list(MESSAGES)))
def test_the_document_has_the_same_schemas(data: st.DataObject, name: str) -> None:
    component = "".join(map(str.capitalize, name.split("-")))
    schema = {**DOCUMENT["components"]["schemas"][component], "components": DOCUMENT["components"]}
    body = data.draw(BODIES[name]) if name in BODIES else json.loads(encode(data.draw(MESSAGES[name])))
    assert validator(schema).is_valid(body) == VALIDATORS[name].is_valid(body)


def test_servers_topics_and_group_are_those_of_the_service() -> None:
    assert [server["host"] for server in DOCUMENT["servers"].values()] == ["a.example:9092", "b.example:9093"]
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == {
        getattr(TOPICS, field.name) for field in fields(Topics)
    }
    groups = [
        operation["bindings"]["kafka"]["groupId"]["enum"]
        for operation in DOCUMENT["operations"].values()
        if operation["action"] == "receive"
    ]
    assert groups == [["shelver"]] * 3
    assert DOCUMENT["info"]["version"] == "1.2.3"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", None])
def test_a_login_is_described_and_servers_refer_to_it(mechanism: str | None) -> None:
    login = Login(mechanism, "https://id.example/token")
    document = asyncapi_document(replace(SERVICE, is_encrypted=True, login=login))
    assert document["components"]["securitySchemes"]["login"]["type"] in (
        "plain",
        "scramSha256",
        "scramSha512",
        "oauth2",
        "X509",
    )
    assert all(
        server["security"] == [{"$ref": "#/components/securitySchemes/login"}]
        and server["protocol"] == "kafka-secure"
        for server in document["servers"].values()
    )


def test_the_page_has_every_topic_field_header_and_example() -> None:
    page = messages_page(DOCUMENT)
    for channel in DOCUMENT["channels"].values():
        assert f"\n## {channel['address']}\n" in page
    for schema in SCHEMAS.values():
        assert all(f"`{name}`" in page for name in schema["properties"])
    assert page.count("```json\n") == len(EXAMPLES)
    blocks = [block.partition("```")[0] for block in page.split("```json\n")[1:]]
    assert [json.loads(block).get("payload") for block in blocks] == [
        example["payload"] for _, example in EXAMPLES
    ]
    assert max(len(line) for line in page.splitlines() if not line.startswith(("|", " "))) <= 120
