"""What the gateway can be told, beside where the brokers, topics and models are."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = ["ApiKey", "GatewaySettings", "Role", "is_loopback"]


class Role(StrEnum):
    """What a key allows: sending products, corrections and questions; reading; training and promoting."""

    SUBMIT = "submit"
    READ = "read"
    TRAIN = "train"


class ApiKey(BaseModel):
    """A key that clients may use; of the key itself only its digest is known."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Who uses it, for logs.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the key, in hexadecimal.")
    roles: frozenset[Role] = Field(min_length=1, description="What it allows: submit, read, train.")


def _origin(text: str) -> str:
    scheme, separator, host = text.partition("://")
    if scheme not in ("http", "https") or not separator or not host or any(sign in host for sign in "/*?#@ "):
        raise ValueError(f"{text[:80]!r} is no origin; write https://console.example or http://host:8501")
    return text.lower()


class GatewaySettings(BaseModel):
    """Where the gateway listens, whom it serves, and how much of it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    gateway_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that the gateway listens on; 0.0.0.0 for all interfaces, which needs API keys.",
    )
    gateway_port: int = Field(8000, ge=0, le=65_535, description="Its port; 0 takes any free one.")
    gateway_api_keys: tuple[ApiKey, ...] = Field(
        (),
        description="Keys that clients may use, with the SHA-256 of each and its roles (submit, read, train):"
        ' [{"name": "shop", "sha256": "...", "roles": ["submit"]}]. Without any, only this machine asks.',
    )
    gateway_api_keys_file: str | None = Field(
        None, description="JSON file with such a list, in its place; read at start."
    )
    gateway_allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (), description='Web pages that may ask from a browser (CORS), ["https://console.example"]; none.'
    )
    gateway_deadline_seconds: float = Field(
        10.0,
        gt=0,
        le=300,
        description="Longest that a request waits for its result before it is answered with 202 and a place"
        " to ask again.",
    )
    gateway_max_wait_seconds: float = Field(
        60.0, gt=0, le=3_600, description="Longest wait that a client may ask for, and longest event stream."
    )
    gateway_confirm_seconds: float = Field(
        5.0,
        gt=0,
        le=60,
        description="Longest wait for the brokers to confirm a record; then the answer is 503.",
    )
    gateway_results_bytes: int = Field(
        64 * 2**20, ge=2**16, description="Bytes of the latest results that are kept to answer with."
    )
    gateway_history_records: int = Field(
        10_000, ge=0, description="Latest records of each topic of results that are read at start."
    )
    gateway_max_body_bytes: int = Field(
        10 * 2**20, ge=1_024, le=2**30, description="Largest body of a request, pictures included."
    )
    gateway_max_buffered_bytes: int = Field(
        128 * 2**20,
        ge=2**20,
        description="Bytes of all bodies that are worked on at once; requests beyond are answered with 503.",
    )
    gateway_max_products: int = Field(100, ge=1, le=1_000, description="Most products in one request.")
    gateway_max_requests: int = Field(
        1_000, ge=1, description="Most requests at once; those beyond are answered with 503."
    )
    gateway_requests_per_second: float = Field(
        100.0,
        gt=0,
        description="Requests a second of each key, on average; a product in a list counts as one.",
    )
    gateway_burst: int = Field(200, ge=1, description="How many of them may come at once.")
    gateway_training_dir: str = Field(
        "runs/gateway", min_length=1, description="Folder of the training runs that the gateway starts."
    )
    gateway_catalogues: dict[str, str] = Field(
        {},
        description="Catalogues that a training run may learn from, by the name that clients use:"
        ' {"shop": "/data/shop"}; without any no training can be started.',
    )
    gateway_training_overrides: tuple[str, ...] = Field(
        (), description='Hydra overrides of every such run: ["image.weights=/data/mobilenet_v2.pth"].'
    )
    gateway_stop_seconds: float = Field(
        10.0, gt=0, description="Longest that a stop waits for requests that are being answered."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.gateway_api_keys and self.gateway_api_keys_file:
            raise ValueError(
                "SHELVER_GATEWAY_API_KEYS and SHELVER_GATEWAY_API_KEYS_FILE are both set; keep one of them"
            )
        if self.gateway_max_buffered_bytes < self.gateway_max_body_bytes:
            raise ValueError(
                f"SHELVER_GATEWAY_MAX_BUFFERED_BYTES ({self.gateway_max_buffered_bytes}) is below"
                f" SHELVER_GATEWAY_MAX_BODY_BYTES ({self.gateway_max_body_bytes}): the largest body would"
                " never be taken; raise the first or lower the second"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, and nobody else can reach what listens on it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
