"""Settings come from the environment, are checked once, and a misspelt one is refused."""

import inspect
from collections import Counter

import pytest
from pydantic import BaseModel

from stream_app.commands.worker import settings_table
from stream_app.errors import SettingsError
from stream_app.settings import Settings, _explain_one, load_settings


def test_a_variable_sets_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELVER_MAX_BATCH", "7")
    assert load_settings().max_batch == 7


def test_an_option_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELVER_MODEL", "fusion@3")
    assert load_settings(model="fusion@4", broker=None).model == "fusion@4"


def test_a_misspelt_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        SettingsError, match="SHELVER_MAX_BACTH is no setting; did you mean SHELVER_MAX_BATCH"
    ):
        load_settings({"SHELVER_MAX_BACTH": "7"})


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_BATCH", "0"), ("MAX_BATCH", "many"), ("METRICS_PORT", "70000")]
)
def test_a_value_out_of_bounds_is_explained(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SHELVER_{name}", value)
    with pytest.raises(SettingsError, match=f"SHELVER_{name}: .*{value}"):
        load_settings()


def test_a_batch_may_wait_for_brokers_before_it_counts_as_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELVER_HANG_SECONDS", "30")
    with pytest.raises(
        SettingsError,
        match=r"^SHELVER_HANG_SECONDS \(30\) is below SHELVER_PUBLISH_TIMEOUT_SECONDS \(60\)",
    ):
        load_settings()
    monkeypatch.setenv("SHELVER_PUBLISH_TIMEOUT_SECONDS", "30")
    assert load_settings().hang_seconds == 30


def test_a_secret_out_of_bounds_would_not_be_shown() -> None:
    for name in ("broker_password", "broker_key_password", "broker_oauth_client_secret"):
        assert "s3cret" not in _explain_one({"loc": (name,), "msg": "too short", "input": "s3cret"})
    assert "'many'" in _explain_one({"loc": ("max_batch",), "msg": "no number", "input": "many"})


def test_a_list_is_read_as_json_and_brought_to_one_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELVER_IMAGE_ALLOWED_HOSTS", '["Shop.example.", "*.CDN.example"]')
    assert load_settings().image_allowed_hosts == ("shop.example", "*.cdn.example")


@pytest.mark.parametrize(
    ("value", "told"), [("shop.example", "should be written as JSON"), ('["a/b"]', "'a/b' is no host")]
)
def test_a_list_that_cannot_be_read_is_explained(
    monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    monkeypatch.setenv("SHELVER_IMAGE_ALLOWED_HOSTS", value)
    with pytest.raises(SettingsError, match=f"^SHELVER_IMAGE_ALLOWED_HOSTS: .*{told}"):
        load_settings()


def test_no_name_is_declared_by_two_components() -> None:
    components = [base for base in Settings.__mro__ if issubclass(base, BaseModel) and base is not Settings]
    names = Counter(
        name
        for component in components
        for name in inspect.get_annotations(component)
        if name != "model_config"
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_every_setting_is_described_and_listed() -> None:
    table = settings_table()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"SHELVER_{name.upper()} " in table


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).max_batch = 3  # type: ignore[misc]
