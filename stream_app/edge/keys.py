"""Who asks, and what they may do: keys of which only the digests are known."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream_app.edge.key_file import read_keys
from stream_app.edge.problems import ProblemError
from stream_app.edge.settings import ApiKey, GatewaySettings, Role, is_loopback
from stream_app.errors import SettingsError

__all__ = ["ANONYMOUS", "Client", "Keys", "load_keys"]

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="shelver"'}


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks.

    Attributes:
        name: of the key.
        roles: what it allows.
    """

    name: str
    roles: frozenset[Role]

    def check(self, *roles: Role) -> None:
        """Make sure of one of these roles.

        Raises:
            ProblemError: the key has none of them.
        """
        if self.roles.isdisjoint(roles):
            raise ProblemError(403, "forbidden", f"the key {self.name!r} lacks the role {' or '.join(roles)}")


ANONYMOUS: Final = Client("anonymous", frozenset(Role))
"""Whoever asks where there are no keys: somebody on this machine, who may do everything."""


class Keys:
    """Tells clients by their keys."""

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    @property
    def are_needed(self) -> bool:
        """Whether a request needs a key."""
        return bool(self._keys)

    def client(self, authorization: str | None) -> Client:
        """Who sends this `Authorization` header.

        Raises:
            ProblemError: it holds no key, or one that is not known.
        """
        if not self._keys:
            return ANONYMOUS
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ProblemError(
                401, "unauthorized", "a key is needed: send Authorization: Bearer KEY", headers=_CHALLENGE
            )
        digest = hashlib.sha256(key.strip().encode(errors="replace")).hexdigest()
        # All are compared, so that the time tells nothing of which one was nearly right.
        found = [known for known in self._keys if hmac.compare_digest(known.sha256, digest)]
        if not found:
            raise ProblemError(401, "unauthorized", "the key is not known", headers=_CHALLENGE)
        return Client(found[0].name, found[0].roles)


def load_keys(settings: GatewaySettings) -> Keys:
    """The keys of the settings.

    Raises:
        SettingsError: their file cannot be read, two have one name or one digest, or there are none although
            others than this machine can reach the gateway.
    """
    keys = settings.gateway_api_keys
    if settings.gateway_api_keys_file is not None:
        keys = _keys_of_file(Path(settings.gateway_api_keys_file))
    for values in ([key.name for key in keys], [key.sha256 for key in keys]):
        if len(set(values)) < len(values):
            raise SettingsError(
                "two API keys of the gateway have the same name or digest; each needs its own"
            )
    if not keys and not is_loopback(settings.gateway_host):
        raise SettingsError(
            f"the gateway would serve anybody on {settings.gateway_host}: set SHELVER_GATEWAY_API_KEYS or"
            " SHELVER_GATEWAY_API_KEYS_FILE, or listen on 127.0.0.1 (SHELVER_GATEWAY_HOST)"
        )
    return Keys(keys)


def _keys_of_file(path: Path) -> tuple[ApiKey, ...]:
    name = "SHELVER_GATEWAY_API_KEYS_FILE"
    try:
        keys = read_keys(path)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    if not keys:
        raise SettingsError(f"{name}: {path} has no key in it; `shelver keys add` puts one there")
    return keys
