"""`shelver schema`: what it prints, what it writes, and the page in the docs."""

import json
from pathlib import Path
from typing import Any

import pytest

from stream_app import cli
from tests.json_schemas import SCHEMAS

PAGE = Path(__file__).parents[3] / ".docs" / "messages.md"
WRITE_IT_AGAIN = "run `shelver schema --markdown > .docs/messages.md`"


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["schema", *arguments])
        said = capsys.readouterr()
        return caught.value.code, said.out, said.err

    return run


def test_without_a_folder_the_document_is_printed(run: Any) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["asyncapi"] == "3.1.0"
    assert document["channels"]["category-assigned"]["address"] == "category-assigned"


def test_a_folder_gets_the_document_and_a_file_for_each_schema(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "contract" / "now"
    assert run(str(folder))[:2] == (0, "")
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()}
    document = found.pop("asyncapi.json")
    assert document == json.loads(run()[1])
    assert found == {f"{name}.schema.json": schema for name, schema in SCHEMAS.items()}


def test_the_page_in_the_docs_is_the_one_that_is_printed(run: Any) -> None:
    code, out, _ = run("--markdown")
    assert code == 0
    assert out == PAGE.read_text(encoding="utf-8"), WRITE_IT_AGAIN


def test_brokers_topics_and_group_come_from_the_settings_and_no_secret_does(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "BROKER": "kafka://kafka.example:9093;kafka://other.example",
        "BROKER_SECURITY_PROTOCOL": "SASL_SSL",
        "BROKER_SASL_MECHANISM": "SCRAM-SHA-512",
        "BROKER_USERNAME": "one-name",
        "BROKER_PASSWORD": "one-secret",
        "PRODUCT_LISTED_TOPIC": "shop.listings",
        "CATEGORY_CORRECTED_TOPIC": "shop.corrections",
        "GROUP": "shelver-2",
    }.items():
        monkeypatch.setenv(f"SHELVER_{name}", value)
    _, out, _ = run()
    document = json.loads(out)
    assert [server["host"] for server in document["servers"].values()] == [
        "kafka.example:9093",
        "other.example:9092",
    ]
    assert document["components"]["securitySchemes"]["login"]["type"] == "scramSha512"
    assert document["channels"]["product-listed"]["address"] == "shop.listings"
    assert document["channels"]["category-corrected"]["address"] == "shop.corrections"
    assert "shelver-2" in out
    assert "one-secret" not in out
    assert "one-name" not in out


def test_a_client_certificate_is_a_login(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELVER_BROKER_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("SHELVER_BROKER_CERTIFICATE_FILE", "client.pem")
    assert json.loads(run()[1])["components"]["securitySchemes"]["login"]["type"] == "X509"


def test_a_folder_that_cannot_be_written_is_told(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = run(str(tmp_path / "file" / "below"))
    assert (code, out) == (2, "")
    assert "cannot be written" in err
