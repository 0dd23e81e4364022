"""`/v1/explanations`: why a product got its category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.cloudevents import output_headers
from schemas.codec import validate
from schemas.explanations import ExplanationRequested
from stream_app.edge.answers import ExplanationAnswer, Status, told
from stream_app.edge.bodies import read_object
from stream_app.edge.dependencies import Asker, EdgeOf, Submitter, Wait, new_id, seconds_to_wait, trace_of
from stream_app.edge.documents import answers, body, examples_of, failures, reference
from stream_app.edge.edge import EVENT_SOURCE, Edge
from stream_app.edge.pictures import check_picture
from stream_app.edge.problems import ProblemError
from stream_app.edge.results import Kind, Result, Subject
from stream_app.edge.submitting import question_submission

__all__ = ["ask", "asked", "router"]

router = APIRouter(prefix="/v1/explanations", tags=["explanations"])


@router.post(
    "",
    summary="Ask why a product gets its category",
    response_model=ExplanationAnswer,
    responses=answers(202, "Sent and confirmed by the brokers; ask again at `Location`.")
    | failures(400, 401, 403, 409, 413, 415, 422, 429, 503),
    openapi_extra=body(reference(ExplanationRequested), examples_of("explanation-requested")),
)
async def post_explanation(request: Request, edge: EdgeOf, client: Submitter, wait: Wait = None) -> Response:
    """Ask about a product, which comes along, or about an event that was classified lately.

    With `max_evaluations` the picture is explained on its pixels, which takes seconds.
    """
    seconds = seconds_to_wait(edge, wait, default=edge.settings.gateway_deadline_seconds)
    question = asked(await read_object(request), new_id(request, client), edge)
    return _answer(question.request_id, await ask(request, edge, question, seconds))


@router.get(
    "/{request_id:path}",
    summary="What became of a question",
    response_model=ExplanationAnswer,
    responses=answers(202, "It is still worked on.") | failures(401, 403, 404, 422, 429),
)
async def get_explanation(request_id: str, edge: EdgeOf, _client: Asker, wait: Wait = None) -> Response:
    """The explanation that a question was answered with; with `wait` as soon as it is there."""
    subject = Subject(Kind.QUESTION, request_id)
    found = await edge.submissions.find(subject, seconds=seconds_to_wait(edge, wait, default=0.0))
    if found.listing is None and not edge.submissions.is_pending(subject):
        raise ProblemError(
            404,
            "not-found",
            f"no answer to the question {request_id[:80]!r} is known here: it is not there yet, or no longer"
            " kept (?wait=SECONDS waits for it)",
        )
    return _answer(request_id, found.listing)


def asked(fields: Mapping[str, Any], request_id: str, edge: Edge) -> ExplanationRequested:
    """The question of these fields, with an id where it has none.

    Raises:
        InvalidMessageError: they are not those of a question.
        ImageError: the picture of its product cannot be one.
    """
    named = fields if fields.get("request_id") not in (None, "") else {**fields, "request_id": request_id}
    question = validate(ExplanationRequested, named)
    if question.product is not None:
        check_picture(question.product.image, edge.settings)
    return question


async def ask(request: Request, edge: Edge, question: ExplanationRequested, seconds: float) -> Result | None:
    """Send a question, and wait for its answer.

    Raises:
        ProblemError: see `Submissions.submit`.
    """
    known = edge.results.get(Subject(Kind.LISTING, question.event_id or ""))
    product_id = question.product.product_id if question.product else (known.product_id if known else None)
    submission = question_submission(
        question,
        edge.settings.explanation_requested_topic,
        [*output_headers(question, source=EVENT_SOURCE), *trace_of(request)],
        product_id=product_id,
    )
    (found,) = await edge.submissions.submit([submission], seconds=seconds)
    return found.listing


def _answer(request_id: str, found: Result | None) -> Response:
    answer = ExplanationAnswer.of(request_id, found)
    location = f"/v1/explanations/{quote(request_id, safe='')}"
    return told(answer, is_complete=answer.status is Status.EXPLAINED, location=location)
