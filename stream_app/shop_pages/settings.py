"""Which pages of shops are read, and how far the service goes for one."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stream_app.web.fetching import FetchLimits
from stream_app.web.urls import Network, host_pattern

__all__ = ["CONNECTIONS", "ShopPageSettings"]

MAX_REDIRECTS = 5
CONNECTIONS = 16
CONNECTIONS_PER_HOST = 4
HOST_PAUSE_SECONDS = 10.0


class ShopPageSettings(BaseModel):
    """What may be read, how much of it, and how long it may take."""

    model_config = ConfigDict(frozen=True)

    shop_page_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="Longest time for one page of a shop, all redirects included."
    )
    shop_page_max_bytes: int = Field(
        3 * 2**20, ge=1024, le=8 * 2**20, description="Largest page of a shop that is read, in bytes."
    )
    shop_page_processes: int = Field(
        2, ge=1, le=16, description="Pages of shops that are read at a time, each in a process of its own."
    )
    shop_page_allow_http: bool = Field(
        default=False, description="Read pages from http:// URLs too; only https:// ones by default."
    )
    shop_page_allowed_hosts: tuple[Annotated[str, AfterValidator(host_pattern)], ...] = Field(
        (),
        description=(
            "Shops whose pages are read, redirects included; by default all that are public. "
            '"*.example.com" stands for every host below it: ["shop.example", "*.shops.example"].'
        ),
    )
    shop_page_allowed_networks: tuple[Network, ...] = Field(
        (),
        description=(
            "Networks pages may be read from although they are not public, such as that of a shop of your "
            'own: ["10.20.0.0/16"]. Anyone who may submit a product can then make requests to them.'
        ),
    )

    def fetch_limits(self) -> FetchLimits:
        """The same, as the fetcher takes it."""
        return FetchLimits(
            accept="text/html,application/xhtml+xml",
            timeout_seconds=self.shop_page_timeout_seconds,
            max_bytes=self.shop_page_max_bytes,
            max_redirects=MAX_REDIRECTS,
            connections=CONNECTIONS,
            connections_per_host=CONNECTIONS_PER_HOST,
            host_pause_seconds=HOST_PAUSE_SECONDS,
            allow_http=self.shop_page_allow_http,
            allowed_hosts=self.shop_page_allowed_hosts,
            allowed_networks=self.shop_page_allowed_networks,
        )
