"""`/v1/corrections`: what a person says the category should have been."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from schemas.cloudevents import output_headers
from schemas.codec import encode, validate
from schemas.corrections import CategoryCorrected
from stream_app.edge.bodies import read_object
from stream_app.edge.dependencies import EdgeOf, Submitter, new_id, trace_of
from stream_app.edge.documents import body, examples_of, failures, reference
from stream_app.edge.edge import EVENT_SOURCE
from stream_app.edge.sending import Letter

__all__ = ["router"]

router = APIRouter(prefix="/v1/corrections", tags=["corrections"])


class CorrectionAnswer(BaseModel):
    """A correction that the brokers have."""

    correction_id: str = Field(description="Identifies it.")
    product_id: str = Field(description="The product.")


@router.post(
    "",
    status_code=202,
    summary="Say what a category should have been",
    response_model=CorrectionAnswer,
    responses=failures(400, 401, 403, 413, 415, 422, 429, 503),
    openapi_extra=body(reference(CategoryCorrected), examples_of("category-corrected")),
)
async def post_correction(request: Request, edge: EdgeOf, client: Submitter) -> CorrectionAnswer:
    """Send a correction; 202 when the brokers have it. Workers count it, and it is there to train on."""
    fields = await read_object(request)
    if fields.get("correction_id") in (None, ""):
        fields["correction_id"] = new_id(request, client)
    if fields.get("corrected_at") is None:
        fields["corrected_at"] = datetime.now(UTC)
    correction = validate(CategoryCorrected, fields)
    letter = Letter(
        edge.settings.category_corrected_topic,
        correction.product_id.encode(),
        encode(correction),
        [*output_headers(correction, source=EVENT_SOURCE), *trace_of(request)],
    )
    await edge.sender.send([letter])
    return CorrectionAnswer(correction_id=correction.correction_id, product_id=correction.product_id)
