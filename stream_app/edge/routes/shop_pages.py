"""`/v1/shop-pages`: what a shop's page says of its product, to be looked at before it is sent as one."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from stream_app.edge.bodies import read_fields
from stream_app.edge.dependencies import EdgeOf, Submitter
from stream_app.edge.documents import body, failures, reference
from stream_app.edge.shop_page import ReadShopPage
from stream_app.shop_pages.products import PageSource

__all__ = ["router"]

router = APIRouter(prefix="/v1/shop-pages", tags=["products"])

_EXAMPLES: Final = {"page": {"summary": "A page.", "value": {"url": "https://shop.example/robot"}}}


class ShopPageAnswer(BaseModel):
    """A product as a shop's page shows it; nothing has been sent or classified."""

    model_config = ConfigDict(from_attributes=True)

    title: str = Field(description="Plain text, without the shop's name and price.")
    description: str | None = Field(description="Plain text.")
    image_urls: list[str] = Field(description="Addresses of its pictures, the main one first.")
    address: str = Field(description="Of the page, as the shop wants it known.")
    source: PageSource = Field(description="Which part of the page told the title.")
    shop: str | None = Field(description="The shop whose own rules were followed.")


@router.post(
    "",
    summary="Read a product from a shop's page",
    response_model=ShopPageAnswer,
    responses=failures(400, 401, 403, 413, 415, 422, 429, 503),
    openapi_extra=body(reference(ReadShopPage), _EXAMPLES),
)
async def read_shop_page(request: Request, edge: EdgeOf, _client: Submitter) -> ShopPageAnswer:
    """Fetch the page and read it. Only public addresses are fetched; 422 says why there is no product."""
    asked = await read_fields(request, ReadShopPage)
    return ShopPageAnswer.model_validate(await edge.shop_pages.read(asked.url))
