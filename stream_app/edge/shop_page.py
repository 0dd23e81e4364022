"""What a client says of a shop's page that is to be read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ReadShopPage"]


class ReadShopPage(BaseModel):
    """A page of a shop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(min_length=1, max_length=8_192, description="Its address.")
