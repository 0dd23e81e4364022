"""The file of API keys: read by the gateway at its start, changed by `shelver keys`.

It holds digests of keys that nobody can guess, so others may read it; whoever writes to it lets people in.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import stat
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from models.files import replace_file
from stream_app.edge.settings import ApiKey, Role
from stream_app.errors import SettingsError
from stream_app.secret_files import cause, read_secret_file

__all__ = ["add_key", "ensure_key", "read_keys", "remove_key"]

KEY_BYTES: Final = 32

_KEYS: Final = TypeAdapter(tuple[ApiKey, ...])
_FILE_MODE: Final = 0o644
_SECRET_MODE: Final = 0o600


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        SettingsError: it cannot be read, or is no list of keys.
    """
    try:
        return _KEYS.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        # What is wrong is told without the values: one of them may be a key.
        reason = "; ".join(_faults(error)) if isinstance(error, ValidationError) else type(error).__name__
        raise SettingsError(
            f'{path} is no list of keys such as [{{"name": "shop", "sha256": "...", "roles": ["submit"]}}]'
            f" ({reason})"
        ) from None


def add_key(path: Path, name: str, roles: Collection[Role], *, secret_file: Path | None = None) -> str:
    """Make a key that nobody can guess, and add it to a file of keys, which is made where there is none.

    Args:
        path: of the file of keys.
        name: who will use it.
        roles: what it shall allow.
        secret_file: a new file that gets the key itself, which its owner alone may read.

    Returns:
        The key; the file of keys has its digest alone.

    Raises:
        SettingsError: the name is taken or cannot be one, or a file cannot be read or written, or is there.
    """
    keys = _keys_so_far(path)
    if any(key.name == name for key in keys):
        raise SettingsError(
            f"{path} has a key {name!r} already: choose another name, or `shelver keys remove {name}` first"
        )
    if secret_file is not None and _is_there(secret_file):
        raise SettingsError(f"{secret_file} is there already; name a new file, or delete it")
    return _add(path, keys, name, roles, secret_file)


def ensure_key(path: Path, name: str, roles: Collection[Role], *, secret_file: Path) -> bool:
    """Make a key unless there is one of this name whose secret file holds it; then all stays as it is.

    Args:
        path: of the file of keys.
        name: who will use it.
        roles: what it shall allow; one that is made anew allows what it did.
        secret_file: of the key itself, which its owner alone may read.

    Returns:
        Whether one was made.

    Raises:
        SettingsError: the name cannot be one, or a file cannot be read or written.
    """
    keys = _keys_so_far(path)
    found = next((key for key in keys if key.name == name), None)
    if found is not None and _is_held(found, secret_file):
        return False
    others = [key for key in keys if key is not found]
    _add(path, others, name, roles if found is None else found.roles, secret_file)
    return True


def remove_key(path: Path, name: str) -> tuple[ApiKey, ...]:
    """Take a key out of a file.

    Returns:
        Those that are left.

    Raises:
        SettingsError: there is no such key, or the file cannot be read or written.
    """
    keys = read_keys(path)
    left = tuple(key for key in keys if key.name != name)
    if len(left) == len(keys):
        known = ", ".join(key.name for key in keys) or "none"
        raise SettingsError(f"{path} has no key {name[:80]!r}; there are: {known}")
    _write_keys(path, left)
    return left


def _add(
    path: Path, keys: Sequence[ApiKey], name: str, roles: Collection[Role], secret_file: Path | None
) -> str:
    secret = secrets.token_urlsafe(KEY_BYTES)
    try:
        key = ApiKey(name=name, sha256=_digest(secret), roles=frozenset(roles))
    except ValidationError as error:
        raise SettingsError(f"{name[:80]!r} cannot be a key: {'; '.join(_faults(error))}") from None
    if secret_file is not None:
        _write(secret_file, f"{secret}\n".encode(), _SECRET_MODE)
    _write_keys(path, [*keys, key])
    return secret


def _keys_so_far(path: Path) -> tuple[ApiKey, ...]:
    return read_keys(path) if _is_there(path) else ()


def _is_held(key: ApiKey, secret_file: Path) -> bool:
    """Whether a file holds this key."""
    if not _is_there(secret_file):
        return False
    secret = read_secret_file(secret_file, variable="--secret-file")
    return hmac.compare_digest(_digest(secret), key.sha256)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Write the file anew, as open to others as it was."""
    told = [key.model_dump(mode="json") | {"roles": sorted(key.roles)} for key in keys]
    mode = stat.S_IMODE(path.stat().st_mode) if _is_there(path) else _FILE_MODE
    _write(path, (json.dumps(told, indent=2) + "\n").encode(), mode)


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        replace_file(path, data, mode=mode)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({cause(error)})") from None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise SettingsError(f"{path} cannot be looked for ({cause(error)})") from None


def _faults(error: ValidationError) -> list[str]:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults[:3]]
