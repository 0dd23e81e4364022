"""The document against AsyncAPI's own JSON Schema, which npm brings: it is not ours to keep a copy of."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

from models.cache_dir import default_cache_dir
from schemas.export import Login, asyncapi_document
from stream_app.commands.schema import described
from stream_app.settings import load_settings

PACKAGE = "@asyncapi/specs@6.11.1"
SCHEMA = "package/schemas/3.1.0.json"
LOGINS = (
    None,
    Login(None),
    *(Login(name, "https://id.example/token") for name in ("PLAIN", "SCRAM-SHA-512", "OAUTHBEARER")),
)


@pytest.fixture(scope="session")
def official() -> Draft7Validator:
    """A validator of AsyncAPI 3.1.0; skips where the schema is not on this machine and cannot be fetched."""
    kept = default_cache_dir() / f"{PACKAGE.replace('/', '-')}.json"
    if not kept.is_file():
        _fetch(kept)
    return Draft7Validator(json.loads(kept.read_bytes()))


def _fetch(kept: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("AsyncAPI's JSON Schema comes from npm, which is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", folder]
        packed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if packed.returncode:
            pytest.skip(f"{PACKAGE} cannot be fetched: {packed.stderr.strip()[:200]}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            schema = archive.extractfile(SCHEMA)
            assert schema is not None
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(schema.read())


def document(login: Login | None = None) -> dict[str, Any]:
    service = described(load_settings({}))
    return asyncapi_document(replace(service, login=login, is_encrypted=login is not None))


@pytest.mark.parametrize("login", LOGINS)
def test_the_document_is_one_of_asyncapi_3_1(official: Draft7Validator, login: Login | None) -> None:
    fault = best_match(official.iter_errors(document(login)))
    assert fault is None, f"{fault.json_path}: {fault.message}"


@pytest.mark.parametrize("place", ["info", "servers/kafka-1/host", "operations/sendDeadLetter/action"])
def test_a_document_without_what_it_needs_is_told(official: Draft7Validator, place: str) -> None:
    broken = document()
    node: Any = broken
    *folders, name = place.split("/")
    for folder in folders:
        node = node[folder]
    del node[name]
    assert not official.is_valid(broken)
