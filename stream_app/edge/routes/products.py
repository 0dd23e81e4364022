"""`/v1/products`: products in, categories out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.cloudevents import output_headers
from schemas.codec import encode, validate
from schemas.dead_letters import Failure
from schemas.errors import InvalidMessageError, ShelverError
from schemas.products import ProductListed
from stream_app.edge.answers import ProductAnswer, ProductAnswers, Status, told
from stream_app.edge.bodies import is_form, read_object, read_product_form
from stream_app.edge.dependencies import (
    Asker,
    EdgeOf,
    Reader,
    Submitter,
    Wait,
    new_id,
    seconds_to_wait,
    trace_of,
)
from stream_app.edge.documents import EVENT_STREAM, PRODUCT_BODY, PRODUCT_EXAMPLES, answers, body, failures
from stream_app.edge.edge import EVENT_SOURCE, Edge
from stream_app.edge.keys import Client
from stream_app.edge.pictures import check_picture
from stream_app.edge.problems import ProblemError, dead_letter, of_error
from stream_app.edge.results import Kind, Subject
from stream_app.edge.sse import HEARTBEAT, HEARTBEAT_SECONDS, event, event_stream
from stream_app.edge.submitting import Found, Submission, listing_submission

__all__ = ["failure_of", "listed", "router", "submit"]

router = APIRouter(prefix="/v1/products", tags=["products"])


@router.post(
    "",
    summary="Classify a product, or several",
    response_model=ProductAnswer | ProductAnswers,
    responses=answers(202, "Sent and confirmed by the brokers; ask again at `Location`.")
    | failures(400, 401, 403, 409, 413, 415, 422, 429, 503),
    openapi_extra=body(PRODUCT_BODY, PRODUCT_EXAMPLES, form=True),
)
async def post_products(request: Request, edge: EdgeOf, client: Submitter, wait: Wait = None) -> Response:
    """Send a product, `{"products": [...]}` or a form with a picture in it, and wait for the category.

    200 when every category (and explanation, where asked for) is there; 202 when one takes longer: it is
    confirmed by the brokers and will come. A single product that cannot be served is 422; in a list each has
    its own outcome. Sent again under the same `event_id` or `Idempotency-Key`, a product is not classified
    twice, and what is known is answered.
    """
    seconds = seconds_to_wait(edge, wait, default=edge.settings.gateway_deadline_seconds)
    fields = await read_product_form(request) if is_form(request) else await read_object(request)
    if "products" in fields:
        return await _answer_list(request, edge, client, _several(fields["products"], edge), seconds)
    listing = listed(fields, new_id(request, client), edge)
    (found,) = await submit(request, edge, [listing], seconds)
    return _one(edge, listing.event_id, found)


@router.get(
    "/{event_id:path}/events",
    summary="What becomes of a product, as it happens",
    response_class=Response,
    responses=EVENT_STREAM | failures(401, 403, 404, 422, 429),
)
async def stream_product(event_id: str, edge: EdgeOf, _client: Asker) -> Response:
    """Server-sent events: `assigned`, `explained` where that was asked for, or `failed`; then it ends.

    A stream that ends with `pending` has waited as long as it may; connect again. Each carries what
    `GET /v1/products/{event_id}` answers.
    """
    subject = Subject(Kind.LISTING, event_id)
    _check_known(edge, subject, await edge.submissions.find(subject, seconds=0.0))
    return event_stream(_events(edge, subject))


@router.get(
    "/{event_id:path}/listing",
    summary="A product as it was listed",
    response_model=ProductListed,
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def get_listing(event_id: str, edge: EdgeOf, _client: Reader) -> Response:
    """The listing of an event that has a result, its picture inside where it was, read again from Kafka."""
    listing = await edge.listings.find(event_id)
    return Response(encode(listing), media_type="application/json")


@router.get(
    "/{event_id:path}",
    summary="What became of a product",
    response_model=ProductAnswer,
    responses=answers(202, "It is still worked on.") | failures(401, 403, 404, 422, 429),
)
async def get_product(event_id: str, edge: EdgeOf, _client: Asker, wait: Wait = None) -> Response:
    """The category of a product that was sent; with `wait` as soon as it is there.

    404 means that no result of this event has come to this gateway among the latest that it keeps.
    """
    subject = Subject(Kind.LISTING, event_id)
    found = await edge.submissions.find(subject, seconds=seconds_to_wait(edge, wait, default=0.0))
    _check_known(edge, subject, found)
    return _one(edge, event_id, found)


async def _events(edge: Edge, subject: Subject) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    deadline = clock() + edge.settings.gateway_max_wait_seconds
    last_told = ""
    while True:
        left = deadline - clock()
        found = await edge.submissions.find(subject, seconds=max(0.0, min(HEARTBEAT_SECONDS, left)))
        answer = ProductAnswer.of(subject.identifier, *found)
        name = "explained" if answer.explained else str(answer.status)
        is_complete = _is_complete(edge, subject, found)
        if answer.status is not Status.PENDING and name != last_told:
            last_told = name
            yield event(name, answer.model_dump_json())
        if is_complete:
            return
        if left <= 0 or edge.stopping.is_set():
            yield event(str(Status.PENDING), answer.model_dump_json())
            return
        yield HEARTBEAT


def listed(fields: Mapping[str, Any], event_id: str, edge: Edge) -> ProductListed:
    """The listing of these fields, with an id where it has none.

    Raises:
        InvalidMessageError: they are not those of a listing.
        ImageError: its picture cannot be one.
    """
    named = fields if fields.get("event_id") not in (None, "") else {**fields, "event_id": event_id}
    listing = validate(ProductListed, named)
    check_picture(listing.image, edge.settings)
    return listing


async def submit(
    request: Request, edge: Edge, listings: Sequence[ProductListed], seconds: float
) -> list[Found]:
    """Send listings and wait for what comes of them.

    Raises:
        ProblemError: see `Submissions.submit`.
    """
    trace = trace_of(request)
    return await edge.submissions.submit(
        [_submission(edge, listing, trace) for listing in listings], seconds=seconds
    )


def failure_of(found: Found) -> Failure | None:
    """Why there will be no category; None where there is one, or nothing yet."""
    outcome = found.listing.outcome if found.listing else None
    return outcome if isinstance(outcome, Failure) else None


async def _answer_list(
    request: Request, edge: Edge, client: Client, products: Sequence[Any], seconds: float
) -> Response:
    edge.rates.take(client.name, len(products) - 1)
    read = [_read(product, new_id(request, client, n), edge) for n, product in enumerate(products)]
    listings = {each.event_id: each for each in read if isinstance(each, ProductListed)}
    if len(listings) < sum(isinstance(each, ProductListed) for each in read):
        raise ProblemError(
            422, "invalid", "two products of the list have the same event_id; each needs its own"
        )
    found = dict(zip(listings, await submit(request, edge, list(listings.values()), seconds), strict=True))
    outcomes = [
        ProductAnswer.refused(each, _product_id(product))
        if isinstance(each, ProblemError)
        else ProductAnswer.of(each.event_id, *found[each.event_id])
        for each, product in zip(read, products, strict=True)
    ]
    are_all_there = all(_is_complete(edge, Subject(Kind.LISTING, name), each) for name, each in found.items())
    return told(ProductAnswers(products=outcomes), is_complete=are_all_there)


def _submission(edge: Edge, listing: ProductListed, trace: Sequence[tuple[str, bytes]]) -> Submission:
    headers = [*output_headers(listing, source=EVENT_SOURCE), *trace]
    return listing_submission(listing, edge.settings.product_listed_topic, headers)


def _several(products: object, edge: Edge) -> Sequence[Any]:
    most = edge.settings.gateway_max_products
    if not isinstance(products, list) or not products:
        raise InvalidMessageError("products should be a list of at least one product", fields=("products",))
    if len(products) > most:
        raise ProblemError(
            413, "too-large", f"{len(products)} products are more than the {most} that one request may have"
        )
    return products


def _read(product: object, event_id: str, edge: Edge) -> ProductListed | ProblemError:
    """One product of a list: what is wrong with it is its own affair."""
    try:
        if not isinstance(product, dict):
            raise InvalidMessageError("a product should be an object")
        return listed(product, event_id, edge)
    except ShelverError as error:
        return of_error(error)


def _product_id(product: object) -> str | None:
    found = product.get("product_id") if isinstance(product, dict) else None
    return found[:512] if isinstance(found, str) else None


def _check_known(edge: Edge, subject: Subject, found: Found) -> None:
    if found.listing is None and not edge.submissions.is_pending(subject):
        raise ProblemError(
            404,
            "not-found",
            f"no result of event {subject.identifier[:80]!r} is known here: it is not there yet, or no longer"
            " kept (?wait=SECONDS waits for it)",
        )


def _is_complete(edge: Edge, subject: Subject, found: Found) -> bool:
    """Whether nothing more is to come: a category, its explanation where asked for, or a dead letter."""
    if found.listing is None:
        return False
    wants_more = edge.submissions.asks_to_be_explained(subject) and found.question is None
    return not wants_more or failure_of(found) is not None


def _one(edge: Edge, event_id: str, found: Found) -> Response:
    if (failure := failure_of(found)) is not None:
        raise dead_letter(failure, event_id=event_id)
    is_complete = _is_complete(edge, Subject(Kind.LISTING, event_id), found)
    location = f"/v1/products/{quote(event_id, safe='')}"
    return told(ProductAnswer.of(event_id, *found), is_complete=is_complete, location=location)
