"""What the console is told, before it serves anybody."""

from pathlib import Path

import pytest

from stream_app.console import session
from stream_app.console.serving import LOOPBACK_NAMES, _options
from stream_app.console.settings import ConsoleSettings
from stream_app.errors import SettingsError
from stream_app.settings import load_console_settings

KEY = "a-key-that-nobody-may-see"
ALL = "0.0.0.0"  # noqa: S104 - listens nowhere


@pytest.mark.parametrize("content", [KEY, f"{KEY}\n"])
def test_the_key_comes_from_a_file(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "console.key"
    path.write_text(content)
    with session.configured(ConsoleSettings(console_api_key_file=str(path))):
        assert session._shared[0].key == KEY
        print(session._shared)
    assert KEY not in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, ""])
def test_a_file_without_a_key_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "console.key"
    if content is not None:
        path.write_text(content)
    told = ConsoleSettings(console_api_key_file=str(path))
    with pytest.raises(SettingsError, match="SHELVER_CONSOLE_API_KEY_FILE"), session.configured(told):
        pass


def test_two_keys_contradict_each_other() -> None:
    environment = {"console_api_key": KEY, "console_api_key_file": "console.key"}
    with pytest.raises(SettingsError, match="keep one of them") as caught:
        load_console_settings({}, **environment)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "allowed", "names"),
    [
        ("127.0.0.1", (), [*LOOPBACK_NAMES, "127.0.0.1"]),
        ("10.0.0.7", ("console.example",), [*LOOPBACK_NAMES, "10.0.0.7", "console.example"]),
        (ALL, (), []),
        (ALL, ("console.example",), [*LOOPBACK_NAMES, "console.example"]),
    ],
)
def test_names_that_lead_here_are_known(host: str, allowed: tuple[str, ...], names: list[str]) -> None:
    settings = ConsoleSettings(console_host=host, console_allowed_hosts=allowed)
    assert _options(settings, 8501)["server_allowedHosts"] == names
