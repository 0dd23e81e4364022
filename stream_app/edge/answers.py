"""What the gateway answers about listings and questions, made of the results as they came."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, Field
from starlette.responses import Response

from schemas.assignments import CategoryAssigned
from schemas.codec import decode
from schemas.dead_letters import Failure
from schemas.explanations import CategoryExplained
from stream_app.edge.problems import ProblemDetails, ProblemError, dead_letter
from stream_app.edge.results import Result

__all__ = ["ExplanationAnswer", "ProductAnswer", "ProductAnswers", "Status", "told"]

RETRY_SECONDS: Final = "1"
_UNKNOWN: Final = "unknown"


class Status(StrEnum):
    """What is known of a listing or a question."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    EXPLAINED = "explained"
    FAILED = "failed"
    REFUSED = "refused"


class ProductAnswer(BaseModel):
    """What became of one product."""

    event_id: str | None = Field(
        description="The event; what it becomes can be asked for by it. Null when the product was refused."
    )
    product_id: str | None = Field(description="The product, as far as it is known.")
    status: Status = Field(
        description="`assigned`, `pending`, `failed` (a dead letter: `problem` says why) or `refused` (it was"
        " not sent: `problem` says why)."
    )
    assigned: CategoryAssigned | None = Field(default=None, description="Its category.")
    explained: CategoryExplained | None = Field(default=None, description="Why, where that was asked for.")
    problem: ProblemDetails | None = Field(
        default=None, description="Why there is no category, or no explanation that was asked for."
    )

    @classmethod
    def of(cls, event_id: str, listing: Result | None, question: Result | None = None) -> ProductAnswer:
        """The answer of what came for a listing, and for the question about it."""
        if listing is None:
            return cls(event_id=event_id, product_id=None, status=Status.PENDING)
        product_id = listing.product_id or None
        if isinstance(listing.outcome, Failure):
            problem = dead_letter(listing.outcome, event_id=event_id).details()
            return cls(event_id=event_id, product_id=product_id, status=Status.FAILED, problem=problem)
        answer = cls(
            event_id=event_id,
            product_id=product_id,
            status=Status.ASSIGNED,
            assigned=decode(CategoryAssigned, listing.outcome, default_event_id=_UNKNOWN),
        )
        if question is None:
            return answer
        if isinstance(question.outcome, Failure):
            return answer.model_copy(update={"problem": dead_letter(question.outcome).details()})
        explained = decode(CategoryExplained, question.outcome, default_event_id=_UNKNOWN)
        return answer.model_copy(update={"explained": explained})

    @classmethod
    def refused(cls, problem: ProblemError, product_id: str | None) -> ProductAnswer:
        """The answer about a product that was not sent."""
        return cls(event_id=None, product_id=product_id, status=Status.REFUSED, problem=problem.details())


class ProductAnswers(BaseModel):
    """What became of several products, in the order they were sent."""

    products: list[ProductAnswer] = Field(description="One for each.")


class ExplanationAnswer(BaseModel):
    """What became of a question."""

    request_id: str = Field(description="The question; what it becomes can be asked for by it.")
    status: Status = Field(description="`explained` or `pending`.")
    explained: CategoryExplained | None = Field(default=None, description="The explanation.")

    @classmethod
    def of(cls, request_id: str, question: Result | None) -> ExplanationAnswer:
        """The answer of what came for a question.

        Raises:
            ProblemError: it became a dead letter.
        """
        if question is None:
            return cls(request_id=request_id, status=Status.PENDING)
        if isinstance(question.outcome, Failure):
            raise dead_letter(question.outcome, explanation_request_id=request_id)
        explained = decode(CategoryExplained, question.outcome, default_event_id=_UNKNOWN)
        return cls(request_id=request_id, status=Status.EXPLAINED, explained=explained)


def told(answer: BaseModel, *, is_complete: bool, location: str | None = None) -> Response:
    """200 with an answer that is complete, else 202 with the place where the rest will be."""
    headers = {"Cache-Control": "no-store"}
    if not is_complete:
        headers["Retry-After"] = RETRY_SECONDS
        if location is not None:
            headers["Location"] = location
    content = answer.model_dump_json()
    return Response(content, 200 if is_complete else 202, headers=headers, media_type="application/json")
