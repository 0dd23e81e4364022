"""`/v1/limits`: how much the gateway takes."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from stream_app.edge.dependencies import Asker, EdgeOf
from stream_app.edge.documents import failures

__all__ = ["router"]

router = APIRouter(prefix="/v1/limits", tags=["limits"])


class LimitsAnswer(BaseModel):
    """How much the gateway takes, and how long it waits."""

    max_body_bytes: int = Field(description="Largest body of a request.")
    max_record_bytes: int | None = Field(
        description="Largest record that the topic of listings takes, where it is known; a picture is in it"
        " in base64, a third larger than its file."
    )
    max_products: int = Field(description="Most products in one request.")
    deadline_seconds: float = Field(description="Longest wait for a result, unless `wait` says otherwise.")
    max_wait_seconds: float = Field(description="Longest `wait`.")


@router.get("", summary="How much is taken", response_model=LimitsAnswer, responses=failures(401, 403, 429))
async def get_limits(edge: EdgeOf, _client: Asker) -> LimitsAnswer:
    """What a client can know beforehand, so that nothing is sent in vain."""
    settings = edge.settings
    return LimitsAnswer(
        max_body_bytes=settings.gateway_max_body_bytes,
        max_record_bytes=edge.sender.limit(settings.product_listed_topic),
        max_products=settings.gateway_max_products,
        deadline_seconds=settings.gateway_deadline_seconds,
        max_wait_seconds=settings.gateway_max_wait_seconds,
    )
