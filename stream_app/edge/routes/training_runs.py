"""`/v1/training-runs`: start a training, follow it, end it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse, Response

from stream_app.edge.bodies import read_fields
from stream_app.edge.dependencies import EdgeOf, Reader, Trainer
from stream_app.edge.documents import body, failures, reference
from stream_app.edge.training_options import StartTraining
from stream_app.edge.training_runs import MAX_LOG_BYTES, TrainingRun, TrainingRunDetail

__all__ = ["router"]

router = APIRouter(prefix="/v1/training-runs", tags=["training"])

EXAMPLES: dict[str, Any] = {
    "usual": {"summary": "As it is configured.", "value": {"catalogue": "shop"}},
    "tiny": {
        "summary": "A small one of texts alone.",
        "value": {"catalogue": "shop", "settings": {"model": "text", "text.epochs": 2, "data.limit": 500}},
    },
}


class TrainingRunsAnswer(BaseModel):
    """Runs, and what another may learn from."""

    catalogues: list[str] = Field(description="Names of what may be learnt from.")
    runs: list[TrainingRun] = Field(description="Newest first.")


@router.post(
    "",
    status_code=202,
    summary="Start a training",
    response_model=TrainingRun,
    responses=failures(400, 401, 403, 409, 413, 415, 422, 429, 503),
    openapi_extra=body(reference(StartTraining), EXAMPLES),
)
async def start_training(request: Request, edge: EdgeOf, _client: Trainer, response: Response) -> TrainingRun:
    """Start `shelver train` as a process of its own; one at a time (409). It ends with the gateway.

    The version that it makes is promoted where there is no champion yet, and otherwise left to be promoted.
    """
    run = await edge.trainings.start(await read_fields(request, StartTraining))
    response.headers["Location"] = f"/v1/training-runs/{run.id}"
    return run


@router.get(
    "",
    summary="Training runs",
    response_model=TrainingRunsAnswer,
    responses=failures(401, 403, 422, 429),
)
async def get_trainings(edge: EdgeOf, _client: Reader) -> TrainingRunsAnswer:
    """The latest runs, and names of the catalogues that one may learn from."""
    runs = await asyncio.to_thread(edge.trainings.list)
    return TrainingRunsAnswer(catalogues=edge.trainings.catalogues, runs=runs)


@router.get(
    "/{run_id}",
    summary="A training run and its curves",
    response_model=TrainingRunDetail,
    responses=failures(401, 403, 404, 422, 429),
)
async def get_training(run_id: str, edge: EdgeOf, _client: Reader) -> TrainingRunDetail:
    """Its state, the networks it fits, and their metrics so far."""
    return await asyncio.to_thread(edge.trainings.get, run_id)


@router.get(
    "/{run_id}/log",
    summary="The end of its log",
    response_class=PlainTextResponse,
    responses=failures(401, 403, 404, 422, 429),
)
async def get_training_log(
    run_id: str,
    edge: EdgeOf,
    _client: Trainer,
    tail_bytes: Annotated[int, Query(ge=1, le=MAX_LOG_BYTES, description="Most bytes, of its end.")] = 64
    * 1024,
) -> Response:
    """What it said, as plain text."""
    content = await asyncio.to_thread(edge.trainings.log, run_id, tail_bytes)
    return PlainTextResponse(content.decode(errors="replace"))


@router.delete(
    "/{run_id}",
    summary="Cancel a training",
    response_model=TrainingRun,
    responses=failures(401, 403, 404, 409, 422, 429),
)
async def cancel_training(run_id: str, edge: EdgeOf, _client: Trainer) -> TrainingRun:
    """End it, in order within ten seconds, else by force; answered when it has ended."""
    return await edge.trainings.cancel(run_id)
