"""The OpenAPI document: bodies, answers and problems of the routes, with examples of each."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import version as distribution_version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from schemas.corrections import CategoryCorrected
from schemas.explanations import ExplanationRequested
from schemas.export_examples import EXAMPLES
from schemas.products import ProductListed
from stream_app.edge.limits import mebibytes
from stream_app.edge.problems import MEDIA_TYPE, TYPE_PREFIX, ProblemDetails
from stream_app.edge.settings import GatewaySettings
from stream_app.edge.shop_page import ReadShopPage
from stream_app.edge.training_options import Promote, StartTraining

__all__ = [
    "EVENT_STREAM",
    "PRODUCT_BODY",
    "PRODUCT_EXAMPLES",
    "answers",
    "body",
    "describe",
    "examples_of",
    "failures",
    "reference",
]

_REFERENCE: Final = "#/components/schemas/{model}"
_BODIES: Final[tuple[type[BaseModel], ...]] = (
    ProductListed,
    ExplanationRequested,
    CategoryCorrected,
    ProblemDetails,
    Promote,
    StartTraining,
    ReadShopPage,
)
"""Schemas that FastAPI does not see: these bodies are read as records of Kafka are."""

_SUMMARY: Final = "Products in, categories and explanations out: the topics of Shelver by HTTP."
_ABOUT: Final = """
A gateway publishes what it is sent to the topics that the workers read, and answers when the result arrives.
What takes longer than the deadline is answered with 202 and a `Location` to ask again. Errors are
`application/problem+json` (RFC 9457).

A body may have {limit_bytes} bytes ({limit}), all in all; a list {products} products; a key
{per_second:g} requests a second on average and {burst} at once.
"""


def reference(model: type[BaseModel]) -> dict[str, str]:
    """A reference to the schema of a body."""
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def examples_of(topic: str) -> dict[str, Any]:
    """The examples of a topic's messages, as OpenAPI has them."""
    return {
        name: {"summary": summary, "value": record["payload"]} for name, summary, record in EXAMPLES[topic]
    }


PRODUCT_EXAMPLES: Final = {
    **examples_of("product-listed"),
    "several": {
        "summary": "Several products, each with its own outcome.",
        "value": {
            "products": [
                {"product_id": "3804725264", "title": "Robot de piscine"},
                {"product_id": "3804725265", "title": "Lampe", "explain": True},
            ]
        },
    },
}
PRODUCT_BODY: Final[dict[str, Any]] = {
    "anyOf": [
        reference(ProductListed),
        {
            "type": "object",
            "required": ["products"],
            "properties": {
                "products": {"type": "array", "minItems": 1, "items": reference(ProductListed)},
            },
        },
    ]
}
_PRODUCT_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["product_id"],
    "properties": {
        "product_id": {"type": "string", "minLength": 1, "maxLength": 512},
        "event_id": {"type": "string", "minLength": 1, "maxLength": 512},
        "title": {"type": "string"},
        "description": {"type": "string"},
        "image": {"type": "string", "format": "binary", "description": "The picture file."},
        "image_url": {"type": "string", "description": "Its address, in place of the file."},
        "explain": {"type": "boolean"},
    },
}

EVENT_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events; `data` is JSON.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def body(schema: Mapping[str, Any], examples: Mapping[str, Any], *, form: bool = False) -> dict[str, Any]:
    """What a route takes, for `openapi_extra`.

    Args:
        schema: of the JSON.
        examples: by name.
        form: whether a product may also come as a form with a file.
    """
    content: dict[str, Any] = {"application/json": {"schema": schema, "examples": examples}}
    if form:
        content["multipart/form-data"] = {"schema": _PRODUCT_FORM}
    return {"requestBody": {"required": True, "content": content}}


def answers(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    """A further success, beside 200."""
    return {status: {"description": description}}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What may go wrong on a route."""
    return {status: _failure(status) for status in statuses}


def _failure(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    example = {
        "type": TYPE_PREFIX + phrase.lower().replace(" ", "-"),
        "title": phrase,
        "status": status,
        "detail": "what happened, and what to do",
        "request_id": "0b2b6f0e-6a4c-4c4b-9a52-1b7e9f6c0d4e",
    }
    content = {MEDIA_TYPE: {"schema": reference(ProblemDetails), "example": example}}
    return {"description": phrase, "content": content}


def describe(app: FastAPI, settings: GatewaySettings) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application."""
    about = _ABOUT.format(
        limit_bytes=settings.gateway_max_body_bytes,
        limit=mebibytes(settings.gateway_max_body_bytes),
        products=settings.gateway_max_products,
        per_second=settings.gateway_requests_per_second,
        burst=settings.gateway_burst,
    )
    document: dict[str, Any] = get_openapi(
        title="Shelver gateway",
        version=distribution_version("shelver"),
        summary=_SUMMARY,
        description=about.strip(),
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in _BODIES:
        schema = model.model_json_schema(mode="validation", ref_template=_REFERENCE)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    return document
