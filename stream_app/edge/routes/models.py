"""`/v1/models` and `/v1/categories`: which versions there are, what they know, and what an alias means."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from schemas.base import CategoryCode
from stream_app.edge.bodies import read_fields
from stream_app.edge.dependencies import Asker, EdgeOf, Reader, Trainer
from stream_app.edge.documents import body, failures, reference
from stream_app.edge.training_options import Promote

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["models"])


class ServingModel(BaseModel):
    """A version."""

    name: str = Field(description="Name of the model.")
    version: str = Field(description="Its version.")


class CategoryAnswer(BaseModel):
    """A category."""

    code: CategoryCode = Field(description="Its code.")
    label: str = Field(description="Its name.")


class CategoriesAnswer(BaseModel):
    """The categories of the version that serves."""

    model: ServingModel = Field(description="The version.")
    categories: list[CategoryAnswer] = Field(description="In the order of the version.")


class VersionAnswer(BaseModel):
    """A version in short."""

    name: str = Field(description="Name of the model.")
    version: str = Field(description="Its version.")
    aliases: list[str] = Field(description="That mean it.")
    created_at: str | None = Field(description="When it was written.")
    rows: int | None = Field(description="Rows held out that it was measured on.")
    weighted_f1: float | None = Field(description="Its score on them, 0 to 1.")
    error: str | None = Field(description="Why there is no more to tell: it is damaged.")


class VersionsAnswer(BaseModel):
    """Every version there is, models by name and the newest version first."""

    serving: str = Field(description="What the workers are to serve: name, name@version or name@alias.")
    versions: list[VersionAnswer] = Field(description="The versions.")


class PromotionAnswer(BaseModel):
    """What an alias means now."""

    name: str = Field(description="Name of the model.")
    alias: str = Field(description="The alias.")
    version: str = Field(description="What it means.")
    previous_version: str | None = Field(description="What it meant before.")
    comparison: dict[str, Any] | None = Field(description="How both scored, where they were compared.")


@router.get(
    "/categories",
    summary="The categories of the version that serves",
    response_model=CategoriesAnswer,
    responses=failures(401, 403, 404, 409, 429),
)
async def get_categories(edge: EdgeOf, _client: Asker) -> dict[str, Any]:
    """Codes and names, in the order of the version that `SHELVER_MODEL` means to the gateway."""
    return await asyncio.to_thread(edge.models.categories)


@router.get(
    "/models",
    summary="Versions, aliases and scores",
    response_model=VersionsAnswer,
    responses=failures(401, 403, 404, 429),
)
async def get_models(edge: EdgeOf, _client: Reader) -> dict[str, Any]:
    """Every version in the repository; of a damaged one its error is told."""
    return await asyncio.to_thread(edge.models.versions)


@router.get(
    "/models/{name}/versions/{version}",
    summary="A version and its card",
    responses=failures(401, 403, 404, 409, 422, 429),
)
async def get_version(name: str, version: str, edge: EdgeOf, _client: Reader) -> dict[str, Any]:
    """Encoders, categories, scores, data, libraries, files, and the model card in Markdown (`card`)."""
    return await asyncio.to_thread(edge.models.version, name, version)


@router.post(
    "/models/{name}/aliases/{alias}",
    summary="Promote a version",
    response_model=PromotionAnswer,
    responses=failures(400, 401, 403, 404, 409, 413, 415, 422, 429),
    openapi_extra=body(
        reference(Promote), {"champion": {"summary": "The third version.", "value": {"version": "3"}}}
    ),
)
async def promote(name: str, alias: str, request: Request, edge: EdgeOf, _client: Trainer) -> dict[str, Any]:
    """Make an alias mean a version, unless it is damaged or scores worse than the one it would replace (409).

    Every byte and the golden scores are checked, which takes seconds. Workers that follow the alias take the
    version over.
    """
    wanted = await read_fields(request, Promote)
    return await asyncio.to_thread(edge.models.promote, name, alias, wanted.version, force=wanted.force)
