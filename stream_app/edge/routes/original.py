"""The six paths of the project that Shelver replaces, for clients that still ask them; deprecated.

Bodies are as they were: `{"text": ..., "image_url": ..., "evals": ..., "topk": ...}`. So are answers,
`{"error": false, "results": [...]}`, with what these left out beside it; whatever goes wrong is a problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import fsum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from schemas.assignments import AssignedCategory, CategoryAssigned
from schemas.explanations import CategoryExplained, CategoryReference, Explanation
from stream_app.edge.answers import ExplanationAnswer, ProductAnswer
from stream_app.edge.bodies import read_fields
from stream_app.edge.dependencies import EdgeOf, Submitter, Trainer, new_id
from stream_app.edge.documents import body, failures
from stream_app.edge.edge import Edge
from stream_app.edge.problems import ProblemError, dead_letter
from stream_app.edge.routes.explanations import ask, asked
from stream_app.edge.routes.products import failure_of, listed, submit
from stream_app.edge.training_options import Architecture, StartTraining, TrainingOptions
from stream_app.edge.training_runs import TrainingRun

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["original"], deprecated=True)

FAILURES = failures(400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 504)

Text = Annotated[str, Field(min_length=1, description="Title and description in one.")]
Address = Annotated[str, Field(min_length=1, description="Address of the picture.")]


class _Input(BaseModel):
    evals: int = Field(
        default=100, ge=1, le=10_000, description="Most evaluations, of a picture's explanation."
    )
    topk: int = Field(
        default=1, ge=1, le=6, description="How many of the most probable categories to explain."
    )


class TextInput(_Input):
    """A text."""

    text: Text


class ImageInput(_Input):
    """A picture."""

    image_url: Address


class FusionInput(_Input):
    """Both."""

    text: Text
    image_url: Address


class ModelInfo(BaseModel):
    """What to train; version and checkpoint are numbers of the past and not looked at."""

    name: Literal["fusion", "text", "image"] = Field(description="What is trained.")
    version: str = Field(default="", description="Not looked at.")
    ckpt: str = Field(default="", description="Not looked at.")


class Prediction(BaseModel):
    """The probabilities of one product: those told and the rest are 1 together."""

    error: bool = Field(default=False, description="Always false; an error is a problem with its status.")
    results: list[float | None] = Field(
        description="The probability of each category, in the order of `categories`; null for those that are"
        " less probable than all that are told."
    )
    rest: float = Field(description="What the categories with null have together.")
    categories: list[CategoryReference] = Field(description="The categories of the version, in its order.")
    event_id: str = Field(description="The event, which `/v1/products/{event_id}` tells more of.")


class TextValues(BaseModel):
    """What each span of a text adds to the logit of a category; with `base_value` that is `value`."""

    category: CategoryReference
    base_value: float
    value: float
    tokens: list[str]
    values: list[float]


class ImageValues(BaseModel):
    """What each cell of a picture adds to the logit of a category; with `base_value` that is `value`."""

    category: CategoryReference
    base_value: float
    value: float
    values: list[list[float]]
    width: int
    height: int


class TextExplanation(BaseModel):
    """Why a text gets its category, one for each of the `topk`."""

    error: bool = False
    results: list[TextValues]


class ImageExplanation(BaseModel):
    """Why a picture gets its category, one for each of the `topk`."""

    error: bool = False
    results: list[ImageValues]


def _takes(model: type[BaseModel], **example: Any) -> dict[str, Any]:
    return body(model.model_json_schema(), {"one": {"summary": "One.", "value": example}})


TEXT, ADDRESS = "Robot de piscine", "https://shop.example/robot.jpg"


@router.post(
    "/predict/text",
    summary="Classify a text",
    response_model=Prediction,
    responses=FAILURES,
    openapi_extra=_takes(TextInput, text=TEXT, evals=100, topk=5),
)
async def predict_text(request: Request, edge: EdgeOf, client: Submitter) -> Prediction:
    """As `POST /v1/products` with a title alone."""
    wanted = await read_fields(request, TextInput)
    return await _predict(request, edge, new_id(request, client), {"title": wanted.text})


@router.post(
    "/predict/image",
    summary="Classify a picture",
    response_model=Prediction,
    responses=FAILURES,
    openapi_extra=_takes(ImageInput, image_url=ADDRESS, evals=100, topk=5),
)
async def predict_image(request: Request, edge: EdgeOf, client: Submitter) -> Prediction:
    """As `POST /v1/products` with a picture alone."""
    wanted = await read_fields(request, ImageInput)
    return await _predict(request, edge, new_id(request, client), {"image": {"url": wanted.image_url}})


@router.post(
    "/predict/fusion",
    summary="Classify a text with a picture",
    response_model=Prediction,
    responses=FAILURES,
    openapi_extra=_takes(FusionInput, text=TEXT, image_url=ADDRESS, evals=100, topk=5),
)
async def predict_fusion(request: Request, edge: EdgeOf, client: Submitter) -> Prediction:
    """As `POST /v1/products` with title and picture."""
    wanted = await read_fields(request, FusionInput)
    fields = {"title": wanted.text, "image": {"url": wanted.image_url}}
    return await _predict(request, edge, new_id(request, client), fields)


@router.post(
    "/explain/text",
    summary="Explain a text",
    response_model=TextExplanation,
    responses=FAILURES,
    openapi_extra=_takes(TextInput, text=TEXT, evals=100, topk=1),
)
async def explain_text(request: Request, edge: EdgeOf, client: Submitter) -> TextExplanation:
    """As `POST /v1/explanations` of its most probable categories; exact, whatever `evals` says."""
    wanted = await read_fields(request, TextInput)
    explained = await _explain(request, edge, new_id(request, client), {"title": wanted.text}, wanted.topk)
    return TextExplanation(results=[_text_values(each) for each in explained.explanations])


@router.post(
    "/explain/image",
    summary="Explain a picture",
    response_model=ImageExplanation,
    responses=FAILURES,
    openapi_extra=_takes(ImageInput, image_url=ADDRESS, evals=100, topk=1),
)
async def explain_image(request: Request, edge: EdgeOf, client: Submitter) -> ImageExplanation:
    """As `POST /v1/explanations` of its most probable categories, on pixels with so many evaluations."""
    wanted = await read_fields(request, ImageInput)
    fields = {"image": {"url": wanted.image_url}}
    explained = await _explain(
        request, edge, new_id(request, client), fields, wanted.topk, max_evaluations=wanted.evals
    )
    return ImageExplanation(results=[_image_values(each) for each in explained.explanations])


@router.post(
    "/train",
    status_code=202,
    summary="Start a training",
    response_model=TrainingRun,
    responses=FAILURES,
    openapi_extra=_takes(ModelInfo, name="text", version="0", ckpt="last"),
)
async def train(request: Request, edge: EdgeOf, _client: Trainer) -> TrainingRun:
    """As `POST /v1/training-runs` on the catalogue that the gateway has, where it has one only."""
    wanted = await read_fields(request, ModelInfo)
    if len(edge.trainings.catalogues) != 1:
        raise ProblemError(
            422, "invalid", "this path needs a gateway with one catalogue; ask /v1/training-runs"
        )
    options = TrainingOptions(model=Architecture(wanted.name))
    return await edge.trainings.start(StartTraining(catalogue=edge.trainings.catalogues[0], settings=options))


async def _predict(request: Request, edge: Edge, event_id: str, fields: Mapping[str, Any]) -> Prediction:
    assigned = await _classified(request, edge, event_id, fields)
    model = assigned.model
    labels = await asyncio.to_thread(edge.models.labels, model.name, model.version)
    categories = [CategoryReference(code=label.code, label=label.name()) for label in labels]
    told = {each.code: each.probability for each in _most_probable(assigned)}
    return Prediction(
        results=[told.get(category.code) for category in categories],
        rest=max(0.0, 1.0 - fsum(told.values())),
        categories=categories,
        event_id=event_id,
    )


async def _classified(
    request: Request, edge: Edge, event_id: str, fields: Mapping[str, Any]
) -> CategoryAssigned:
    listing = listed({"product_id": event_id, **fields}, event_id, edge)
    (found,) = await submit(request, edge, [listing], edge.settings.gateway_max_wait_seconds)
    if (failure := failure_of(found)) is not None:
        raise dead_letter(failure, event_id=event_id)
    assigned = ProductAnswer.of(event_id, *found).assigned
    if assigned is None:
        raise _late(f"/v1/products/{event_id}")
    return assigned


async def _explain(
    request: Request,
    edge: Edge,
    event_id: str,
    fields: Mapping[str, Any],
    topk: int,
    **more: Any,
) -> CategoryExplained:
    assigned = await _classified(request, edge, event_id, fields)
    codes = [each.code for each in _most_probable(assigned)[:topk]]
    asking = {
        "product": {"product_id": event_id, **fields},
        "event_id": event_id,
        "categories": codes,
        **more,
    }
    question = asked(asking, f"{event_id}-explained", edge)
    found = await ask(request, edge, question, edge.settings.gateway_max_wait_seconds)
    explained = ExplanationAnswer.of(question.request_id, found).explained
    if explained is None:
        raise _late(f"/v1/explanations/{question.request_id}")
    return explained


def _most_probable(assigned: CategoryAssigned) -> Sequence[AssignedCategory]:
    return (assigned.category, *assigned.alternatives)


def _text_values(explanation: Explanation) -> TextValues:
    return TextValues(
        category=explanation.category,
        base_value=explanation.base_value,
        value=explanation.value,
        tokens=[span.text for span in explanation.text],
        values=[span.attribution for span in explanation.text],
    )


def _image_values(explanation: Explanation) -> ImageValues:
    image = explanation.image
    if image is None:
        raise ProblemError(422, "invalid", "the picture could not be had, so there is nothing to explain")
    return ImageValues(
        category=explanation.category,
        base_value=explanation.base_value,
        value=explanation.value,
        values=[list(row) for row in image.attributions],
        width=image.width,
        height=image.height,
    )


def _late(location: str) -> ProblemError:
    return ProblemError(
        504,
        "late",
        f"it takes longer than this path waits; it will be at {location}",
        headers={"Location": location},
    )
