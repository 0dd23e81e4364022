"""`shelver explain` on the model of the demo: colours, JSON and a page, and what it says to wrong input."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import CatalogueRow, read_catalogue
from schemas.explanations import CategoryExplained
from stream_app import cli

HOSTILE = '<script>alert("1")</script> Robot & "piscine" <img src=x onerror=alert(1)>'


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command in this process would set up logging for all tests after it."""
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)


@pytest.fixture(scope="module")
def row(sample_catalogue: Path) -> CatalogueRow:
    rows = read_catalogue(sample_catalogue)
    return next(row for row in rows if row.image_path is not None and row.title and row.split == "val")


def explain(repository: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["explain", "demo", "--repository", str(repository), "--device", "cpu", *arguments])
    return int(str(ended.value.code))


def answer_of(capsys: pytest.CaptureFixture[str]) -> CategoryExplained:
    return CategoryExplained.model_validate_json(capsys.readouterr().out)


def test_the_answer_is_the_message_and_its_values_are_the_logits(
    demo_repository: Path, row: CatalogueRow, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--title", row.title, "--description", row.description, "--image", str(row.image_path))
    assert explain(demo_repository, *given, "--top", "4", "--json") == 0
    answer = answer_of(capsys)
    assert len(answer.explanations) == 4
    values = [each.value for each in answer.explanations]
    assert values == sorted(values, reverse=True)
    assert answer.additivity_error < 1e-4
    for each in answer.explanations:
        fields = {"title": row.title, "description": row.description}
        for span in each.text:
            assert fields[span.field][span.start : span.end] == span.text
        assert each.image is not None
        assert each.image.frame is not None
        assert each.by_modality.image == pytest.approx(sum(map(sum, each.image.attributions)))


def test_the_category_that_is_asked_for_is_explained(
    demo_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = Classifier.load(ModelRepository(demo_repository).resolve("demo").folder)
    wanted = [str(classifier.labels.codes[place]) for place in (5, 2)]
    assert (
        explain(demo_repository, "--title", "Robot", "--json", *(f"--category={code}" for code in wanted))
        == 0
    )
    assert [str(each.category.code) for each in answer_of(capsys).explanations] == wanted


def test_pixels_are_explained_within_the_budget(
    demo_repository: Path, row: CatalogueRow, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = ("--image", str(row.image_path), "--method", "pixels", "--max-evaluations", "40")
    assert explain(demo_repository, *picture, "--top", "1", "--json") == 0
    answer = answer_of(capsys)
    assert answer.method.evaluations <= 40
    (only,) = answer.explanations
    assert only.image is not None
    assert only.image.grid == (16, 16)


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_shows_hostile_text_as_text(
    demo_repository: Path, row: CatalogueRow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.html"
    given = ("--title", HOSTILE, "--image", str(row.image_path))
    assert explain(demo_repository, *given, "--html", str(path)) == 0
    page = Page(path.read_text())
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert HOSTILE in page.text
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 3
    assert all(source.startswith("data:image/") for source in sources)
    assert names.count("i") == 3 * 16
    numbered = [attributes for _, attributes in page.tags if "data-value" in attributes]
    assert len([float(attributes["data-value"] or "") for attributes in numbered]) > 3 * 16
    assert all(attributes["tabindex"] == "0" for attributes in numbered), "a tap shows a number, too"
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{section}" for section in sections]
    assert "nan" not in path.read_text()
    assert "orange speaks for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to explain: give --title"),
        (["--title", "<br/>"], "nothing to explain"),
        (["--title", "Robot", "--category", "nowhere"], "the model has no category 'nowhere'"),
        (["--image", "nowhere.jpg"], "nowhere.jpg cannot be read"),
        (["--title", "Robot", "--html", "nowhere/page.html"], "nowhere/page.html cannot be written"),
    ],
)
def test_wrong_input_is_one_line_that_says_what_to_do(
    demo_repository: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(demo_repository, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_picture_that_cannot_be_used_is_named(
    demo_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    assert explain(demo_repository, "--image", str(broken)) == 2
    assert "its picture cannot be used (unsupported_format)" in capsys.readouterr().err
    assert explain(demo_repository, "--title", "Robot", "--image", str(broken), "--json") == 0
    (only, *_) = json.loads(capsys.readouterr().out)["explanations"]
    assert only["image"] is None


def test_what_is_no_utf_8_on_the_command_line_is_explained_all_the_same(
    demo_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(demo_repository, "--title", "Robot \udcff piscine\0", "--json", "--top", "1") == 0
    spans: list[Any] = json.loads(capsys.readouterr().out)["explanations"][0]["text"]
    assert [span["text"] for span in spans][:1] == ["Robot"]
