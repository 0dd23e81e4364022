"""`shelver keys`: keys that the gateway knows, told once, and files that are changed whole."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from stream_app import cli
from stream_app.edge.keys import load_keys
from stream_app.edge.settings import GatewaySettings, Role


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)
    return tmp_path / "keys.json"


def shelver(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["keys", *map(str, words)])
    return ended.value.code


def roles_of(file: Path, key: str) -> frozenset[Role]:
    """What the gateway lets a key do."""
    return load_keys(GatewaySettings(gateway_api_keys_file=str(file))).client(f"Bearer {key}").roles


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_key_is_printed_once_and_known_to_the_gateway(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shelver("add", "shop", "--role", "submit", "--role", "read", "--file", file) == 0
    told = capsys.readouterr()
    key = told.out.strip()
    assert len(key) >= 40
    assert roles_of(file, key) == {Role.SUBMIT, Role.READ}
    assert key not in told.err + file.read_text()
    assert json.loads(file.read_text()) == [
        {"name": "shop", "sha256": hashlib.sha256(key.encode()).hexdigest(), "roles": ["read", "submit"]}
    ]


def test_a_key_in_a_file_is_not_printed_and_nobody_else_reads_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret_file = tmp_path / "new" / "console.key"
    assert shelver("add", "console", "--role=read", f"--file={file}", f"--secret-file={secret_file}") == 0
    told = capsys.readouterr()
    key = secret_file.read_text().strip()
    assert roles_of(file, key) == {Role.READ}
    assert told.out == ""
    assert key not in told.err
    assert mode(secret_file) == 0o600


def test_a_file_of_keys_stays_as_open_as_it_was(file: Path) -> None:
    before = os.umask(0o022)
    try:
        shelver("add", "shop", "--role=submit", "--file", file)
        assert mode(file) == 0o644
        file.chmod(0o600)
        shelver("add", "other", "--role=submit", "--file", file)
        assert mode(file) == 0o600
    finally:
        os.umask(before)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_name_has_one_key(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shelver("add", "shop", "--role=submit", "--file", file)
    before = file.read_bytes()
    assert shelver("add", "shop", "--role=train", "--file", file) == 2
    assert "shelver keys remove shop" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_nothing_is_written_over(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "notes"
    other.write_text("mine")
    assert shelver("add", "shop", "--role=submit", "--file", file, "--secret-file", other) == 2
    assert "is there already" in capsys.readouterr().err
    assert other.read_text() == "mine"
    assert not file.exists()


class TestFirst:
    @pytest.fixture
    def secret_file(self, tmp_path: Path) -> Path:
        return tmp_path / "console.key"

    @pytest.fixture
    def words(self, file: Path, secret_file: Path) -> list[object]:
        return ["add", "console", "--first", "--role=read", "--file", file, "--secret-file", secret_file]

    def test_a_key_that_is_there_stays(
        self, file: Path, secret_file: Path, words: list[object], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert shelver(*words) == 0
        before = file.read_bytes(), secret_file.read_bytes()
        assert shelver(*words, "--role=train") == 0
        assert (file.read_bytes(), secret_file.read_bytes()) == before
        assert "has its key already" in capsys.readouterr().err

    @pytest.mark.parametrize("content", [None, "of another file of keys"])
    def test_one_that_is_lost_is_made_anew_with_its_roles(
        self, file: Path, secret_file: Path, words: list[object], content: str | None
    ) -> None:
        shelver("add", "shop", "--role=submit", "--file", file)
        shelver(*words)
        lost = secret_file.read_text().strip()
        secret_file.unlink()
        if content is not None:
            secret_file.write_text(content)
        assert shelver(*words, "--role=train") == 0
        key = secret_file.read_text().strip()
        assert key != lost
        assert roles_of(file, key) == {Role.READ}
        assert [each["name"] for each in json.loads(file.read_text())] == ["shop", "console"]

    def test_it_is_kept_somewhere(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert shelver("add", "console", "--first", "--role=read", "--file", file) == 2
        assert "--secret-file" in capsys.readouterr().err
        assert not file.exists()


def test_keys_are_listed_and_removed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("shop", "console"):
        shelver("add", name, "--role=submit", "--file", file)
    capsys.readouterr()
    assert shelver("list", "--file", file) == 0
    told = capsys.readouterr()
    assert re.findall(r"^(\w+) +submit$", told.out, re.MULTILINE) == ["shop", "console"]
    assert "2 keys" in told.err
    assert shelver("remove", "shop", "--file", file) == 0
    assert shelver("remove", "shop", "--file", file) == 2
    assert "there are: console" in capsys.readouterr().err
    assert shelver("remove", "console", "--file", file) == 0
    assert "does not start" in capsys.readouterr().err


def test_the_file_is_that_of_the_gateway(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shelver("list") == 2
    assert "--file" in capsys.readouterr().err
    monkeypatch.setenv("SHELVER_GATEWAY_API_KEYS_FILE", str(file))
    assert shelver("add", "shop", "--role=submit") == 0
    assert file.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "a shop", "--role=submit"), "'a shop' cannot be a key: name"),
        (("add", "shop"), "--role"),
        (("add", "shop", "--role=admin"), "'admin'"),
        (("list",), "FileNotFoundError"),
        (("remove", "shop"), "FileNotFoundError"),
    ],
)
def test_what_cannot_be_done_is_told(
    file: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shelver(*words, "--file", file) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not file.exists()


def test_what_is_no_file_of_keys_is_left_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('[{"name": "shop", "sha256": "a-key-by-mistake", "roles": ["submit"]}]')
    before = file.read_text()
    assert shelver("add", "other", "--role=submit", "--file", file) == 2
    told = capsys.readouterr().err
    assert "0.sha256" in told
    assert "a-key-by-mistake" not in told
    assert file.read_text() == before


def test_a_folder_that_cannot_be_written_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("no folder")
    assert shelver("add", "shop", "--role=submit", "--file", file / "keys.json") == 2
    assert "cannot be written" in capsys.readouterr().err
    too_long = file.with_name("k" * 300)
    assert shelver("add", "shop", "--role=submit", "--file", too_long) == 2
    assert "cannot be looked for" in capsys.readouterr().err
