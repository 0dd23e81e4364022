"""Errors as RFC 9457 has them: one form, `application/problem+json`, for whatever goes wrong.

| status | type ends with | when |
| --- | --- | --- |
| 400 | malformed | the body is not one JSON object in UTF-8, or a header is wrong |
| 401, 403 | unauthorized, forbidden | no key, an unknown one, or one without the role |
| 404, 405 | not-found, method-not-allowed | no such thing, or not that way |
| 409 | conflict | an id that stands for something else, or a training that is going on |
| 413 | too-large | a body, a product or a list beyond its limit |
| 415 | unsupported-media-type | a body or a picture of a kind that is not read |
| 421 | misdirected | a host name by which this machine does not call itself |
| 422 | invalid, blocked-address, dead-letter, refused | the fields, an address, the event itself, or a page |
| 429 | too-many-requests | the rate of the key |
| 500 | internal | a fault of the gateway, which its log tells |
| 503 | unavailable | the brokers do not confirm, or too much is going on at once |
| 504 | late | a path of the original project, which cannot say where to ask again |
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from models.errors import BundleError, ImageError, ImageReason, ModelError, PromotionError, RepositoryError
from schemas.dead_letters import Failure
from schemas.errors import (
    FramingError,
    InvalidMessageError,
    MalformedError,
    MessageError,
    MessageTooLargeError,
    ShelverError,
)
from stream_app.shop_pages.errors import PageError, PageReason

__all__ = ["MEDIA_TYPE", "ProblemDetails", "ProblemError", "dead_letter", "of_error", "problem_response"]

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:shelver:problem:"


_OF_ERRORS: Final[tuple[tuple[type[ShelverError], int, str], ...]] = (
    (MessageTooLargeError, 413, "too-large"),
    (MalformedError, 400, "malformed"),
    (FramingError, 400, "malformed"),
    (MessageError, 422, "invalid"),
    (PromotionError, 409, "conflict"),
    (BundleError, 409, "conflict"),
    (RepositoryError, 404, "not-found"),
    (ModelError, 422, "invalid"),
)
"""The first class that an error is of counts."""
_OF_IMAGES: Final = {
    ImageReason.UNSUPPORTED_FORMAT: (415, "unsupported-media-type"),
    ImageReason.TOO_LARGE: (413, "too-large"),
    ImageReason.TOO_MANY_PIXELS: (413, "too-large"),
    ImageReason.BLOCKED: (422, "blocked-address"),
    ImageReason.INVALID_URL: (422, "blocked-address"),
}


class FieldFault(BaseModel):
    """A field that is wrong."""

    field: str = Field(description="Its dotted name in the message.")


class ProblemDetails(BaseModel):
    """What went wrong, in the form of RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Which kind of problem, a URN that programs can go by.")
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, and what to do.")
    request_id: str | None = Field(default=None, description="Names the request in the gateway's log.")
    stage: str | None = Field(default=None, description="Of a dead letter: where the event failed.")
    reason: str | None = Field(default=None, description="A short code, of dead letters, pictures and pages.")
    errors: list[FieldFault] | None = Field(default=None, description="The fields that are wrong.")


class ProblemError(ShelverError):
    """A request that cannot be answered as it was asked.

    Args:
        status: of HTTP.
        kind: ends the type, such as `too-large`.
        detail: what happened and what to do, one line without secrets.
        headers: of the answer, such as `Retry-After`.
        more: further members of the problem.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})
        self.more = more

    def details(self, request_id: str | None = None) -> ProblemDetails:
        """The problem as it is told."""
        return ProblemDetails(
            type=TYPE_PREFIX + self.kind,
            title=_title(self.status, self.kind),
            status=self.status,
            detail=str(self),
            request_id=request_id,
            **self.more,
        )


def problem_response(problem: ProblemError, request_id: str | None = None) -> Response:
    """The answer that tells a problem."""
    body = problem.details(request_id).model_dump_json(exclude_none=True)
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(body, problem.status, headers=headers, media_type=MEDIA_TYPE)


def dead_letter(failure: Failure, **more: Any) -> ProblemError:
    """The problem of an event that became a dead letter."""
    return ProblemError(
        422,
        "dead-letter",
        f"the event cannot be served: {failure.message or failure.reason}",
        stage=str(failure.stage),
        reason=str(failure.reason),
        **more,
    )


def of_error(error: ShelverError) -> ProblemError:
    """The problem that an error of messages, pictures, pages or models is to a client."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, ImageError):
        status, kind = _OF_IMAGES.get(error.reason, (422, "invalid"))
        about = "the address of the picture" if kind == "blocked-address" else "the picture"
        return ProblemError(status, kind, f"{about}: {error}", reason=str(error.reason))
    if isinstance(error, PageError):
        is_address = error.reason in (PageReason.BLOCKED, PageReason.INVALID_URL)
        return ProblemError(
            422, "blocked-address" if is_address else "refused", str(error), reason=str(error.reason)
        )
    for error_type, status, kind in _OF_ERRORS:
        if isinstance(error, error_type):
            return ProblemError(status, kind, str(error), **_more(error))
    logger.error("a request failed", exc_info=error)
    return ProblemError(500, "internal", "the gateway cannot do this now; its log tells why")


def _more(error: ShelverError) -> dict[str, Any]:
    if isinstance(error, MessageTooLargeError):
        return {"limit_bytes": error.limit_bytes}
    if isinstance(error, InvalidMessageError):
        return {"errors": [{"field": field} for field in error.fields]}
    return {}


def _title(status: int, kind: str) -> str:
    if kind in ("dead-letter", "blocked-address"):
        return kind.replace("-", " ").capitalize()
    return HTTPStatus(status).phrase
