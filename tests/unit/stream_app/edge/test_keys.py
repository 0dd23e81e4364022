"""API keys: found by their digests, never told, and needed where others can reach the gateway."""

import hashlib
import json
from pathlib import Path

import pytest

from stream_app.edge.keys import ANONYMOUS, Keys, load_keys
from stream_app.edge.problems import ProblemError
from stream_app.edge.settings import ApiKey, GatewaySettings, Role, is_loopback
from stream_app.errors import SettingsError
from stream_app.settings import load_edge_settings, load_settings

SECRET = "a-key-that-nobody-may-see"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key(name: str = "shop", secret: str = SECRET, *roles: Role) -> ApiKey:
    return ApiKey(name=name, sha256=digest(secret), roles=frozenset(roles or (Role.SUBMIT,)))


def test_a_client_is_known_by_its_key() -> None:
    keys = Keys([key(), key("console", "other", Role.READ, Role.TRAIN)])
    assert keys.client(f"Bearer {SECRET}").name == "shop"
    client = keys.client("bearer other")
    assert (client.name, client.roles) == ("console", frozenset({Role.READ, Role.TRAIN}))
    client.check(Role.SUBMIT, Role.READ)
    with pytest.raises(ProblemError, match="lacks the role submit") as caught:
        client.check(Role.SUBMIT)
    assert caught.value.status == 403


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Basic {SECRET}", SECRET, "Bearer wrong"])
def test_without_a_known_key_there_is_no_answer(header: str | None) -> None:
    with pytest.raises(ProblemError) as caught:
        Keys([key()]).client(header)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert "wrong" not in str(caught.value)


def test_without_keys_everybody_on_this_machine_may_do_everything() -> None:
    keys = load_keys(GatewaySettings())
    assert not keys.are_needed
    assert keys.client(None) is ANONYMOUS
    ANONYMOUS.check(Role.TRAIN)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)],  # noqa: S104 - is refused
)
def test_who_listens_for_others_needs_keys(host: str, *, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours
    settings = GatewaySettings(gateway_host=host)
    if is_ours:
        load_keys(settings)
        return
    with pytest.raises(SettingsError, match="set SHELVER_GATEWAY_API_KEYS"):
        load_keys(settings)
    load_keys(GatewaySettings(gateway_host=host, gateway_api_keys=(key(),)))


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"name": "shop", "sha256": digest(SECRET), "roles": ["submit"]}]))
    keys = load_keys(GatewaySettings(gateway_api_keys_file=str(path)))
    assert keys.client(f"Bearer {SECRET}").name == "shop"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "no key in it"),
        ("no JSON", "JSONDecodeError"),
        (
            json.dumps([{"name": "shop", "sha256": SECRET, "roles": ["submit"]}]),
            "0.sha256: String should match",
        ),
        (json.dumps([{"name": "shop", "sha256": digest(SECRET), "roles": ["admin"]}]), "roles"),
        (None, "FileNotFoundError"),
    ],
)
def test_a_file_that_holds_no_keys_is_told_without_its_content(
    tmp_path: Path, content: str | None, told: str
) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=told) as caught:
        load_keys(GatewaySettings(gateway_api_keys_file=str(path)))
    assert SECRET not in str(caught.value)


def test_two_keys_with_one_name_or_digest_are_refused() -> None:
    for keys in ((key(), key("shop", "other")), (key(), key("other"))):
        with pytest.raises(SettingsError, match="same name or digest"):
            load_keys(GatewaySettings(gateway_api_keys=keys))


def test_a_key_in_place_of_its_digest_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = json.dumps([{"name": "shop", "sha256": SECRET, "roles": ["submit"]}])
    monkeypatch.setenv("SHELVER_GATEWAY_API_KEYS", wrong)
    with pytest.raises(SettingsError, match="SHELVER_GATEWAY_API_KEYS") as caught:
        load_edge_settings()
    assert SECRET not in str(caught.value)


def test_the_worker_and_the_gateway_know_each_others_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELVER_GATEWAY_PORT", "8001")
    monkeypatch.setenv("SHELVER_MAX_BATCH", "7")
    assert load_edge_settings().gateway_port == 8001
    assert load_settings().max_batch == 7
    monkeypatch.setenv("SHELVER_GATEWAY_PROT", "8001")
    with pytest.raises(SettingsError, match="did you mean SHELVER_GATEWAY_PORT"):
        load_settings()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"gateway_api_keys": (key(),), "gateway_api_keys_file": "keys"}, "keep one of them"),
        ({"gateway_max_buffered_bytes": 2**20}, "would never be taken"),
        ({"gateway_allowed_origins": ("console.example",)}, "is no origin"),
        ({"gateway_allowed_origins": ("https://*.example",)}, "is no origin"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GatewaySettings.model_validate(wrong)
