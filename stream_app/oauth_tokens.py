"""Tokens for OAUTHBEARER by the client credentials grant (RFC 6749, section 4.4)."""

import asyncio
import base64
import json
import re
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import aiohttp
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

__all__ = ["ClientCredentials", "Token", "TokenError", "read_token"]

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256 * 1024
RETRY_SECONDS = 5.0
"""After a failure nobody is asked again for so long, however often aiokafka reconnects."""

DEFAULT_LIFE_SECONDS = 60.0
USED_SHARE = 0.8
"""After this part of its life the next one is asked for; where that fails, the old one serves to its end."""

# RFC 6750, section 2.1; anything else could add fields of its own to the SASL message.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
# RFC 6749, section 5.2; other text of the answer is not repeated, since it may quote what was sent.
_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)


class TokenError(KafkaConnectionError):  # type: ignore[misc]
    """No token could be had; the text holds neither secret nor token.

    Attributes:
        is_final: Whether the server has refused, so that asking again does not help.
    """

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.is_final = is_final

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token and for how many seconds it is good."""

    value: str
    life_seconds: float


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Gets a token with id and secret of a client and keeps it until shortly before it expires.

    May be asked from several event loops: Faust's consumer has one of its own.

    Args:
        url: of the token endpoint; redirects are not followed, proxies of the environment not used.
        client_id: sent with the secret as HTTP Basic.
        client_secret: never part of an error.
        scope: what is asked for.
        clock: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        scope: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._headers = {"Authorization": _basic(client_id, client_secret)}
        self._form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        self._clock = clock
        self._token: Token | None = None
        self._failure: TokenError | None = None
        self._ask_again_at = 0.0
        self._expires_at = 0.0
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            weakref.WeakKeyDictionary()
        )

    async def token(self) -> str:
        """The current token, or a new one.

        Raises:
            TokenError: the endpoint refuses, cannot be reached, or answers something else.
        """
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._clock() >= self._ask_again_at:
                await self._renew()
            if self._token is not None and self._clock() < self._expires_at:
                return self._token.value
            failure = self._failure or TokenError("the token has expired")
            raise TokenError(failure.text, is_final=failure.is_final)

    async def _renew(self) -> None:
        try:
            token = read_token(*await self._ask())
        except TokenError as error:
            self._failure, self._ask_again_at = error, self._clock() + RETRY_SECONDS
        else:
            now = self._clock()
            self._token, self._expires_at = token, now + token.life_seconds
            self._failure, self._ask_again_at = None, now + USED_SHARE * token.life_seconds

    async def _ask(self) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.post(
                    self._url, data=self._form, headers=self._headers, allow_redirects=False
                ) as response,
            ):
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise TokenError(f"the token endpoint answers more than {MAX_ANSWER_BYTES} bytes")
                return response.status, bytes(content)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # The error's own text is left out: it may hold the address with a query.
            raise TokenError(f"the token endpoint cannot be reached ({_kind(error)})") from None


def _basic(client_id: str, client_secret: str) -> str:
    """The header of RFC 6749, section 2.3.1: both parts encoded as in a form, then HTTP Basic."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _kind(error: Exception) -> str:
    certificate = getattr(error, "certificate_error", None)
    told = getattr(certificate, "verify_message", None) or getattr(error, "strerror", None)
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def read_token(status: int, content: bytes) -> Token:
    """The token of an answer.

    Args:
        status: of HTTP.
        content: the body, JSON.

    Raises:
        TokenError: it holds none; final for the refusals of RFC 6749.
    """
    fields = _json_object(content)
    if status != 200:
        code = fields.get("error")
        told = f" {code}" if isinstance(code, str) and code in _ERRORS else ""
        raise TokenError(
            f"the token endpoint refuses with HTTP {status}{told}", is_final=status in (400, 401, 403)
        )
    value, kind = fields.get("access_token"), fields.get("token_type", "bearer")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or str(kind).lower() != "bearer":
        raise TokenError("the token endpoint answers no bearer token")
    return Token(value, _life_seconds(fields.get("expires_in")))


def _life_seconds(told: object) -> float:
    try:
        seconds = float(told) if isinstance(told, int | float | str) else DEFAULT_LIFE_SECONDS
    except (ValueError, OverflowError):
        return DEFAULT_LIFE_SECONDS
    return seconds if 0 < seconds < float("inf") else DEFAULT_LIFE_SECONDS


def _json_object(content: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
