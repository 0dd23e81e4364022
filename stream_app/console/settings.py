"""What the console can be told."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

__all__ = ["ConsoleSettings"]


def _address(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if scheme not in ("http", "https") or not separator or not rest or any(sign in rest for sign in "?#@ "):
        raise ValueError("should be the address of a gateway, such as http://127.0.0.1:8000")
    return text.rstrip("/")


class ConsoleSettings(BaseModel):
    """Where the console listens, and which gateway it asks."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    console_host: str = Field(
        "127.0.0.1", min_length=1, description="Address that the console listens on; 0.0.0.0 for all."
    )
    console_port: int = Field(8501, ge=0, le=65_535, description="Its port; 0 takes any free one.")
    console_gateway_url: Annotated[str, AfterValidator(_address)] = Field(
        "http://127.0.0.1:8000", description="Address of the gateway that the console asks."
    )
    console_api_key: SecretStr | None = Field(
        None,
        description="API key that the console asks with, for all visitors; without it each visitor may give"
        " a key of their own, where the gateway wants one.",
    )
    console_api_key_file: str | None = Field(
        None, description="File with that key, in its place; read at start."
    )
    console_allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Names by which browsers may reach the console, beside its own address and localhost:"
        ' ["console.example"]. Where it listens on all interfaces, without any every name is right.',
    )
    console_catalogues: dict[str, str] = Field(
        {},
        description="Catalogues on the console's machine whose rows visitors may pick, by the name they see:"
        ' {"test set": "/data/rakuten"}.',
    )
    console_max_rows: int = Field(
        5_000, ge=1, le=100_000, description="Most rows of a test set that are predicted at once."
    )
    console_upload_bytes: int = Field(
        7 * 2**20,
        ge=2**20,
        le=2**30,
        description="Largest upload; what the gateway takes where that is less.",
    )
    console_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=600,
        description="Longest wait for an answer of the gateway, beyond its own waits.",
    )
    console_stop_seconds: float = Field(
        5.0, gt=0, description="Longest that a stop waits for pages that are being drawn."
    )

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if self.console_api_key and self.console_api_key_file:
            raise ValueError(
                "SHELVER_CONSOLE_API_KEY and SHELVER_CONSOLE_API_KEY_FILE are both set; keep one of them"
            )
        return self
