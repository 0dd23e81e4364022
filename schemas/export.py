"""The contract for machines: JSON Schemas (2020-12) of all messages, and one AsyncAPI 3.1 document.

What is read is described as it is accepted, with the other names of fields and numbers for identifiers; what
is written as it is promised. The rules that a schema cannot hold, such as attributions that add up, stand in
the module of the message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core import core_schema

from schemas.assignments import CategoryAssigned
from schemas.base import Message
from schemas.corrections import CategoryCorrected
from schemas.dead_letters import (
    ATTEMPTS_HEADER,
    MESSAGE_HEADER,
    ORIGINAL_HEADERS_HEADER,
    ORIGINAL_KEY_SIZE_HEADER,
    ORIGINAL_SHA256_HEADER,
    ORIGINAL_SIZE_HEADER,
    REASON_HEADER,
    SOURCE_HEADER,
    STAGE_HEADER,
    Reason,
    Stage,
)
from schemas.explanations import CategoryExplained, ExplanationRequested
from schemas.export_examples import EXAMPLES
from schemas.products import ProductListed

__all__ = ["Login", "Service", "Topics", "asyncapi_document", "json_schemas"]

ASYNCAPI_VERSION: Final = "3.1.0"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
KAFKA_BINDING_VERSION: Final = "0.5.0"

_JSON: Final = "application/json"
_KEY: Final = {"type": "string", "description": "The product id, in UTF-8; it keeps the order of a product."}
_KEY_AS_RECEIVED: Final = {"description": "The key as received, any bytes or none."}
_AS_RECEIVED: Final = {"description": "The value as received, any bytes; what is too large keeps its start."}

_ABOUT: Final = """\
Shelver puts marketplace products on the right shelf: a listing comes in, its category goes out, and on
request why it is that one. Messages are JSON in UTF-8.

At least once: an offset is committed when the brokers have confirmed everything that an event causes, never
before. After a crash an event may be answered twice, with the same ids: drop the second. Answers of one
product keep the order of its listings. What cannot be served becomes a dead letter, and harms nothing else.

Unknown fields are ignored when read; a consumer should do the same, since fields may be added. CloudEvents
1.0 are read in binary mode (`ce_*` headers) and structured mode (`application/cloudevents+json`), outputs
carry `ce_*` headers. The framing of a schema registry (a zero byte and a 4-byte id) before the JSON is
skipped. What is read may be nested 200 deep."""


class _Read(GenerateJsonSchema):
    """Schemas of what is accepted, without titles that only repeat the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (pydantic names it)
        return False


class _Written(_Read):
    """Schemas of what is promised: fields without a value are written as null, so each is there."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,  # noqa: ARG002
        total: bool,  # noqa: ARG002
    ) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the topics."""

    product_listed: str
    category_assigned: str
    explanation_requested: str
    category_explained: str
    dead_letter: str
    category_corrected: str


@dataclass(frozen=True, slots=True)
class Login:
    """How a client proves who it is.

    Attributes:
        mechanism: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, or `None` for a certificate.
        token_url: Where OAUTHBEARER gets its tokens.
    """

    mechanism: str | None
    token_url: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """The service that a document describes.

    Attributes:
        version: Its release.
        hosts: `host:port` of each broker.
        topics: Their names.
        group: The consumer group.
        is_encrypted: Whether the brokers are reached by TLS.
        login: How it logs in, or `None` when it does not.
    """

    version: str
    hosts: Sequence[str]
    topics: Topics
    group: str
    is_encrypted: bool = False
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class _Described:
    """A message with its topic, as it is told.

    Attributes:
        topic: Field of `Topics`.
        message_type: What is in the value, `None` for any bytes.
        actions: What the service does with it, in AsyncAPI's words.
        summary: One line.
        promise: What producers and consumers can build on.
        headers: The headers it has beside those that every message may have.
    """

    topic: str
    message_type: type[Message] | None
    actions: tuple[str, ...]
    summary: str
    promise: str
    headers: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        return "receive" in self.actions

    @property
    def name(self) -> str:
        return self.topic.replace("_", "-")

    @property
    def component(self) -> str:
        return "".join(word.capitalize() for word in self.topic.split("_"))


def _text(description: str, **rules: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **rules}


_TRACE_HEADERS: Final = {
    "traceparent": _text(
        "W3C trace context; what an event causes carries that of the event.",
        pattern="^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    ),
    "tracestate": _text("What tracing systems add to it."),
}
_READ_HEADERS: Final = {
    "ce_id": _text("Stands in for the identifier where the message leaves it out."),
    "ce_time": _text("Stands in for the time where the message leaves it out.", format="date-time"),
    "content-type": _text(f"`{_JSON}`, or `application/cloudevents+json` for structured mode."),
    **_TRACE_HEADERS,
}
_PLACE: Final = "`topic-partition-offset`"
_DEAD_LETTER_HEADERS: Final = {
    STAGE_HEADER: _text("Where it failed.", enum=list(Stage)),
    REASON_HEADER: _text("Why; a small fixed set.", enum=list(Reason)),
    MESSAGE_HEADER: _text("One line for a person, at most 500 characters.", maxLength=500),
    SOURCE_HEADER: _text(f"{_PLACE} of the record."),
    ATTEMPTS_HEADER: _text("How often it was tried, from 1.", pattern="^[1-9][0-9]*$"),
    ORIGINAL_SIZE_HEADER: _text("Only when the value had to be cut: its true size in bytes."),
    ORIGINAL_SHA256_HEADER: _text("Only when the value had to be cut: SHA-256 of all of it, in hexadecimal."),
    ORIGINAL_HEADERS_HEADER: _text("Only when headers had to be left out too: how many there were."),
    ORIGINAL_KEY_SIZE_HEADER: _text("Only when the key had to be cut as well: its true size in bytes."),
}
_ALWAYS_ON_DEAD_LETTERS: Final = (
    STAGE_HEADER,
    REASON_HEADER,
    MESSAGE_HEADER,
    SOURCE_HEADER,
    ATTEMPTS_HEADER,
)

_MESSAGES: Final = (
    _Described(
        "product_listed",
        ProductListed,
        ("receive",),
        "A product that somebody put on sale.",
        "Every listing leaves as `category-assigned` or as a dead letter, and is acknowledged after that. A"
        " null value (tombstone) is a delisting: counted and acknowledged. A picture that cannot be had or"
        " read leaves its product to the text. Listings are read up to `SHELVER_MAX_MESSAGE_BYTES` (10 MiB).",
    ),
    _Described(
        "category_assigned",
        CategoryAssigned,
        ("send",),
        "The category Shelver gave a product, and what it was decided on.",
        "One for each listing that is no dead letter, at least once: `assignment_id` is the same when a"
        " listing is answered again by the same version, so drop the second. Answers of one product keep the"
        " order of its listings; they go to the partition of the listing where both topics have as many,"
        " else to that of the key.",
    ),
    _Described(
        "explanation_requested",
        ExplanationRequested,
        ("receive", "send"),
        "The question why a product gets its category.",
        "Every request leaves as `category-explained` or as a dead letter. The service itself sends one for"
        " each listing with `explain: true`. An event is found through the latest categories and read again"
        " from Kafka, as long as both topics keep it. Requests have a lane of their own and delay no"
        " category.",
        {"shelver.listing": _text(f"{_PLACE} of the listing, in requests of the service itself.")},
    ),
    _Described(
        "category_explained",
        CategoryExplained,
        ("send",),
        "Why a product got its category: what each word and each part of the picture adds.",
        "All values are logits. For every explanation the base value plus all attributions is the value,"
        " which is checked before it is sent. At least once, with the same `explanation_id` for the same"
        " request and version.",
    ),
    _Described(
        "dead_letter",
        None,
        ("send",),
        "A record that could not be served, as received, with headers that say why.",
        "Key, value and headers are untouched, those below are added after them; of a name that stands"
        " there twice the last counts. A record larger than 900 kB keeps the first bytes of its value."
        " `shelver dead-letters replay` sends it back to its topic.",
    ),
    _Described(
        "category_corrected",
        CategoryCorrected,
        ("receive",),
        "What a person says the category of a product should have been.",
        "Joined with what was assigned, for the accuracy that is measured and as rows to train on. One that"
        " agrees with the assignment confirms it.",
    ),
)


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas of values and headers by the name of their file, without its ending.

    `product-listed` is that of a value, `product-listed.headers` that of its headers, by name, as text. The
    value of a dead letter can be anything and has none.
    """
    found = {}
    for described in _MESSAGES:
        if described.message_type is not None:
            generator = _Read if described.is_read else _Written
            schema = described.message_type.model_json_schema(
                mode=_mode(described), schema_generator=generator
            )
            found[described.name] = {"$schema": DIALECT, **_with_plain_descriptions(schema)}
        found[f"{described.name}.headers"] = {
            "$schema": DIALECT,
            "title": f"{described.component}Headers",
            **_headers(described),
        }
    return found


def asyncapi_document(service: Service) -> dict[str, Any]:
    """Return the document that describes a service as it is set up; nothing secret is in it."""
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Shelver",
            "version": service.version,
            "description": _unbroken(_ABOUT),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": _JSON,
        "servers": {f"kafka-{n}": _server(host, service) for n, host in enumerate(service.hosts, start=1)},
        "channels": {described.name: _channel(described, service.topics) for described in _MESSAGES},
        "operations": {
            f"{action}{described.component}": _operation(described, action, service)
            for described in _MESSAGES
            for action in described.actions
        },
        "components": {
            "messages": {described.component: _message(described) for described in _MESSAGES},
            "schemas": _component_schemas(),
            **({"securitySchemes": {"login": _security(service.login)}} if service.login else {}),
        },
    }


def _mode(described: _Described) -> JsonSchemaMode:
    return "validation" if described.is_read else "serialization"


def _server(host: str, service: Service) -> dict[str, Any]:
    server: dict[str, Any] = {
        "host": host,
        "protocol": "kafka-secure" if service.is_encrypted else "kafka",
        "description": "Kafka, by TLS." if service.is_encrypted else "Kafka.",
        "bindings": {"kafka": {"bindingVersion": KAFKA_BINDING_VERSION}},
    }
    if service.login:
        server["security"] = [{"$ref": "#/components/securitySchemes/login"}]
    return server


def _security(login: Login) -> dict[str, Any]:
    if login.mechanism is None:
        return {"type": "X509", "description": "A client certificate."}
    if login.mechanism == "OAUTHBEARER":
        flow: dict[str, Any] = {"tokenUrl": login.token_url, "availableScopes": {}}
        return {"type": "oauth2", "description": "OAUTHBEARER.", "flows": {"clientCredentials": flow}}
    kind = {"PLAIN": "plain", "SCRAM-SHA-256": "scramSha256", "SCRAM-SHA-512": "scramSha512"}
    return {"type": kind[login.mechanism], "description": f"SASL {login.mechanism}."}


def _channel(described: _Described, topics: Topics) -> dict[str, Any]:
    topic = getattr(topics, described.topic)
    return {
        "address": topic,
        "summary": described.summary,
        "description": described.promise,
        "messages": {described.component: {"$ref": f"#/components/messages/{described.component}"}},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": KAFKA_BINDING_VERSION}},
    }


def _operation(described: _Described, action: str, service: Service) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{described.name}"},
        "messages": [{"$ref": f"#/channels/{described.name}/messages/{described.component}"}],
        "summary": described.summary,
    }
    if action == "receive":
        group = {"type": "string", "enum": [service.group]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": KAFKA_BINDING_VERSION}}
    return operation


def _message(described: _Described) -> dict[str, Any]:
    is_bytes = described.message_type is None
    return {
        "name": described.name,
        "title": described.component,
        "summary": described.summary,
        "contentType": "application/octet-stream" if is_bytes else _JSON,
        "headers": _headers(described),
        "payload": _AS_RECEIVED if is_bytes else {"$ref": f"#/components/schemas/{described.component}"},
        "bindings": {
            "kafka": {
                "key": _KEY_AS_RECEIVED if is_bytes else _KEY,
                "bindingVersion": KAFKA_BINDING_VERSION,
            }
        },
        "examples": [
            {"name": name, "summary": summary, **told} for name, summary, told in EXAMPLES[described.name]
        ],
    }


def _headers(described: _Described) -> dict[str, Any]:
    if described.message_type is None:
        return {
            "type": "object",
            "properties": _DEAD_LETTER_HEADERS,
            "required": list(_ALWAYS_ON_DEAD_LETTERS),
        }
    if described.is_read:
        return {"type": "object", "properties": {**_READ_HEADERS, **described.headers}}
    message_type = described.message_type
    told = {
        "ce_specversion": _text("Version of CloudEvents.", const="1.0"),
        "ce_id": _text(f"The `{message_type.IDENTIFIER_FIELD}`."),
        "ce_type": _text("What happened.", const=message_type.EVENT_TYPE),
        "ce_source": _text("Who says so, `SHELVER_EVENT_SOURCE`."),
        "content-type": _text("Of the value.", const=_JSON),
        "ce_time": _text(f"The `{message_type.TIME_FIELD}`.", format="date-time"),
    }
    return {"type": "object", "properties": {**told, **_TRACE_HEADERS}, "required": list(told)}


def _component_schemas() -> dict[str, Any]:
    """Return the schemas of messages and their parts by name, each standing once for all that refer to it."""
    found: dict[str, Any] = {}
    for is_read, generator in ((True, _Read), (False, _Written)):
        models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
            (described.message_type, _mode(described))
            for described in _MESSAGES
            if described.message_type is not None and described.is_read is is_read
        ]
        _, schemas = models_json_schema(
            models, ref_template="#/components/schemas/{model}", schema_generator=generator
        )
        found |= schemas["$defs"]
    return {name: _with_bare_references(_with_plain_descriptions(schema)) for name, schema in found.items()}


def _with_plain_descriptions(schema: Any) -> Any:
    """Return the schema with descriptions that are `_unbroken`."""
    if isinstance(schema, list):
        return [_with_plain_descriptions(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _with_plain_descriptions(each) for name, each in schema.items()}
    if isinstance(plain.get("description"), str):
        plain["description"] = _unbroken(plain["description"])
    return plain


def _unbroken(text: str) -> str:
    """Return the text with line ends between paragraphs only."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _with_bare_references(schema: Any) -> Any:
    """Return the schema with nothing beside a reference, where AsyncAPI would ignore it."""
    if isinstance(schema, list):
        return [_with_bare_references(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {name: _with_bare_references(each) for name, each in schema.items()}
    if "$ref" in bare and len(bare) > 1:
        bare["allOf"] = [{"$ref": bare.pop("$ref")}]
    return bare
