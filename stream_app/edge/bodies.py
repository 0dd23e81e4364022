"""Bodies of requests to the fields of a message: JSON read as from Kafka, or a form with a picture in it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from schemas.json_objects import parse_object
from stream_app.edge.pictures import check_file
from stream_app.edge.problems import ProblemError

__all__ = ["field_problem", "is_form", "read_fields", "read_object", "read_product_form"]

B = TypeVar("B", bound=BaseModel)

LARGE_BYTES: Final = 256 * 1024
"""From here on a body is parsed in a thread: 10 MiB take some 50 ms."""
MAX_FIELDS: Final = 32
_TRUTHS: Final = {"true": True, "1": True, "on": True, "false": False, "0": False, "": False}


def is_form(request: Request) -> bool:
    """Whether a request carries a form with files."""
    return _media_type(request) == "multipart/form-data"


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in a body, read as the value of a record is.

    Raises:
        ProblemError: it is not declared as JSON.
        MalformedError: it is not exactly one JSON object in UTF-8.
    """
    body = await _json_body(request)
    return await asyncio.to_thread(parse_object, body) if len(body) > LARGE_BYTES else parse_object(body)


async def read_fields(request: Request, model: type[B]) -> B:
    """What a body says that is no message of a topic.

    Raises:
        ProblemError: it is not declared as JSON, it is none, or its fields are wrong.
    """
    body = await _json_body(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        if any(fault["type"] == "json_invalid" for fault in faults):
            raise ProblemError(400, "malformed", "the body should be one JSON object in UTF-8") from error
        raise field_problem(faults) from error


def field_problem(faults: Sequence[Mapping[str, Any]]) -> ProblemError:
    """The problem of fields that pydantic has found wrong."""
    names = [".".join(map(str, fault["loc"])) for fault in faults]
    detail = "; ".join(f"{name}: {fault['msg']}" for name, fault in zip(names, faults, strict=True))
    return ProblemError(422, "invalid", detail or "not valid", errors=[{"field": name} for name in names])


async def read_product_form(request: Request) -> dict[str, Any]:
    """The fields of a listing in a form: those of the message, `image` as a file or `image_url` in its place.

    Raises:
        ProblemError: it is damaged, has other fields or more than one picture.
        ImageError: the file is no picture.
    """
    async with request.form(max_files=1, max_fields=MAX_FIELDS) as form:
        fields = _texts(form)
        file = form.get("image")
        content = await file.read() if isinstance(file, UploadFile) else None
    if (url := fields.pop("image_url", "")) and content is not None:
        raise ProblemError(422, "invalid", "a form has either image or image_url, not both")
    if url:
        fields["image"] = {"url": url}
    if content is not None:
        check_file(content)
        fields["image"] = {"data": base64.b64encode(content).decode()}
    if "explain" in fields:
        said = str(fields["explain"]).lower()
        if said not in _TRUTHS:
            raise ProblemError(
                422, "invalid", "explain should be true or false", errors=[{"field": "explain"}]
            )
        fields["explain"] = _TRUTHS[said]
    return fields


def _texts(form: FormData) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "image":
                raise ProblemError(422, "invalid", f"the file {name[:40]!r} has no place; send it as image")
        elif name == "image":
            raise ProblemError(422, "invalid", "image should be a file; an address is sent as image_url")
        else:
            fields[name] = value
    return fields


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json_body(request: Request) -> bytes:
    # Anything else a page in somebody's browser could send without asking first.
    media_type = _media_type(request)
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise ProblemError(
            415, "unsupported-media-type", "the body should be JSON, with Content-Type: application/json"
        )
    return await request.body()
